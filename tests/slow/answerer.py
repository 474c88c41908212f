"""`python -m tests.slow.answerer OUT KILL_AT`: asks a tiny model a toy benchmark, alone or as one of several processes.

KILL_AT: the second process kills itself before it answers its n-th row; 0 lets it finish.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.tiny import build_tiny
from tests.unit.evaluate.conftest import WORDS, ToyData, png, toy_benchmark

from visiglot.errors import VisiglotError
from visiglot.evaluate import generate
from visiglot.evaluate.answers import ModelAnswerer
from visiglot.evaluate.benchmark import Settings
from visiglot.evaluate.sharing import join_processes
from visiglot.types import Example, ImageRef

COLOURS = {"cat": "red", "dog": "green", "sun": "yellow"}


class Noted(ModelAnswerer):
    """Notes whom it answered, and dies in the middle."""

    kill_at = 0
    notes: Path

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        for number, found in enumerate(super().answer(examples, settings), 1):
            if number == self.kill_at and os.environ.get("RANK") == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            with self.notes.open("a", encoding="utf-8") as file:
                file.write(f"{examples[found[0]].id}\n")
            yield found


def main(out: str, kill_at: int) -> None:
    share = join_processes()
    generate.ROWS_AT_ONCE = 4
    built = build_tiny()
    answerer = Noted(built.model, built.processor, name="tiny", max_batch_tokens=256)
    answerer.kill_at = kill_at
    answerer.notes = Path(f"{out}.notes{share.rank}")
    pictures = {thing: ImageRef(f"toy/{thing}", data=png(colour)) for thing, colour in COLOURS.items()}
    done = generate.collect_predictions(
        answerer, toy_benchmark(data=ToyData(pictures)), list(WORDS), Path(out), resume=True, share=share
    )
    if share.main:
        print(done.made, done.kept, done.failed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
