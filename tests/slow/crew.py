"""`python -m tests.slow.crew OUT WORKERS [KEY=VALUE ...]`: translates with an engine that notes where it is asked what.

    store=PATH      of the store; default: beside OUT
    fail_after=N    each engine raises at its call N + 1
    kill=N          processes that the engine kills, its own one each time
    kill_at=N       at which of its calls; default: the second
    pause=SECONDS   that each call takes; default: 0.01, so that one worker isn't done before the other has begun

0 workers: in this process. Errors of Visiglot's go to stderr as the command line shows them, with exit code 2.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.facts import Facts
from tests.translating import Marked, Strict

from visiglot.config import AllocationSection, SourceSection
from visiglot.errors import VisiglotError
from visiglot.translate import jobs as jobs_module
from visiglot.translate.cluster import Cluster
from visiglot.translate.engine import Output
from visiglot.translate.folder import Folder
from visiglot.translate.jobs import plan_source
from visiglot.translate.pipeline import Crew, translate
from visiglot.translate.store import Store
from visiglot.translate.translator import Translator

LANGUAGES = ("eng_Latn", "deu_Latn", "swh_Latn", "arb_Arab")


@dataclass
class Noted(Marked):
    """Notes in `notes` each call's process and texts, one file a process, and may kill it.

    Args:
        kill: processes that are killed, before their answer number `kill_at`.
        pause: seconds that each call takes.
    """

    notes: Path = Path()
    kill: int = 0
    kill_at: int = 2
    pause: float = 0.0

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        self.notes.mkdir(exist_ok=True)
        with (self.notes / str(os.getpid())).open("a", encoding="utf-8") as file:
            file.write("".join(f"{target}\t{text}\n" for text in texts))
        said = super().translate(texts, source, target)
        for number in range(self.kill if len(self.calls) == self.kill_at else 0):
            try:
                (self.notes / f"killed.{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause)
        return said


def noted(
    notes: Path, *, kill: str = "0", kill_at: str = "2", pause: str = "0.01", fail_after: str | None = None
) -> Noted:
    return Noted(
        notes=notes,
        kill=int(kill),
        kill_at=int(kill_at),
        pause=float(pause),
        fail_after=None if fail_after is None else int(fail_after),
    )


def main(out: str, workers: int, store: str | None = None, **options: str) -> None:
    jobs_module.SHARD = 4
    rows = [
        (
            LANGUAGES[0],
            {"question": f"What is {'rejected' if n % 5 == 2 else n}?", "answer": ("bank", "dog", "cat")[n % 3]},
        )
        for n in range(30)
    ]
    allocation = AllocationSection(policy="parallel")
    job = plan_source(Facts(rows), SourceSection(type="nano"), LANGUAGES, allocation=allocation, seed=0)
    make = partial(noted, Path(f"{out}.notes"), **options)
    path, filters = Path(store or f"{out}.store"), Strict()
    with Store(path) as kept:
        crew: Crew = Translator(make(), kept, filters, LANGUAGES[0])  # type: ignore[arg-type]
        if workers:
            crew = Cluster(make(), make, filters, LANGUAGES[0], path, workers)  # type: ignore[arg-type]
        translate([job], crew, Folder(Path(out)), settings={})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a command in the background is born without it
    try:
        main(sys.argv[1], int(sys.argv[2]), **dict(option.split("=", 1) for option in sys.argv[3:]))
    except VisiglotError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
