"""Writing what a source gives into one Parquet file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visiglot.data.inspect import CHUNK
from visiglot.data.ledger import BAD_PICTURE, BAD_ROW, Ledger
from visiglot.data.looking import Looker
from visiglot.data.parquet_source import write_examples
from visiglot.data.progress import Progress
from visiglot.data.source import Source
from visiglot.errors import DataError, ImageError
from visiglot.files import write_text
from visiglot.images import in_memory
from visiglot.types import Example, OnBad


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a source's examples.

    Args:
        examples: in the file.
        left_out: reason -> examples that aren't in it.
        ledger: names those, and rows that were left out when the source was opened; None where there are neither.
    """

    examples: int
    left_out: dict[str, int]
    ledger: Path | None


def ledger_of(path: Path) -> Path:
    """The file beside `path` that names what isn't in it."""
    return path.with_name(f"{path.stem}.bad.jsonl")


def write_source(
    source: Source,
    numbers: NDArray[np.int64],
    path: Path,
    *,
    root: Path | None = None,
    embed: bool = False,
    check: bool = True,
    on_bad: OnBad = "error",
    max_bad: float = 0.01,
    earlier: Path | None = None,
) -> Written:
    """Write examples into `path`, which appears whole or not at all.

    Args:
        numbers: of the examples, in the order of the file.
        root: the folder below which pictures lie that are paths; default: the file's own.
        embed: put the encoded bytes of pictures into the file, as they are.
        check: decode each picture once; otherwise only files that are embedded are read, and none is looked into.
        on_bad: what a row or a picture that can't be used does: raise, or leave its example out.
        max_bad: share of the examples that may be left out.
        earlier: a ledger that the new one begins with.

    Raises:
        DataError: a bad row or picture ("error"), too many of them ("skip"), none that is good, a picture outside
            `root`, or the file can't be written.
        MissingExtraError: pyarrow isn't installed.
    """
    beside = ledger_of(path)
    beside.unlink(missing_ok=True)
    if earlier is not None and earlier.is_file():
        write_text(earlier.read_text(encoding="utf-8"), beside, error=DataError)
    ledger = Ledger(beside, max_bad)
    with Looker() as looker:
        written = _Writing(source, looker, ledger, embed=embed, check=check, on_bad=on_bad)
        count = write_examples(path, written.examples(numbers), root=root)
    return Written(count, dict(ledger.reasons), beside if beside.is_file() else None)


class _Writing:
    """Examples on their way into a file."""

    def __init__(
        self, source: Source, looker: Looker, ledger: Ledger, *, embed: bool, check: bool, on_bad: OnBad
    ) -> None:
        self.source = source
        self.looker = looker
        self.ledger = ledger
        self.embed = embed
        self.check = check
        self.on_bad = on_bad

    def examples(self, numbers: NDArray[np.int64]) -> Iterator[Example]:
        progress = Progress(f"{self.source.name}: writing", "examples", len(numbers))
        for first in range(0, len(numbers), CHUNK):
            chunk = numbers[first : first + CHUNK].tolist()
            self.ledger.count(len(chunk))
            yield from self._shown([example for number in chunk if (example := self._read(number)) is not None])
            progress.advance(len(chunk))
        progress.done()
        if self.ledger.skipped == len(numbers):
            raise DataError(
                f"none of the {len(numbers):,} examples of {self.source.name} can be used",
                hint=f"{self.ledger.path} says why." if self.ledger.skipped else "Check the source's options.",
            )

    def _read(self, number: int) -> Example | None:
        try:
            return self.source[number]
        except DataError as error:
            if self.on_bad == "error":
                raise
            self.ledger.skip(f"{self.source.name}/{number}", BAD_ROW, error.message)
            return None

    def _shown(self, examples: list[Example]) -> Iterator[Example]:
        """The examples whose pictures can be shown."""
        refs = [ref for example in examples for ref in example.images]
        looks = iter(self.looker.look(refs) if self.check else ())
        for example in examples:
            seen = [next(looks) for _ in example.images] if self.check else []
            error = next((look.error for look in seen if look.error is not None), None)
            if error is None and self.embed:
                try:
                    example = dataclasses.replace(example, images=tuple(map(in_memory, example.images)))
                except ImageError as unread:
                    error = unread
            if error is None:
                yield example
            elif self.on_bad == "error":
                raise ImageError(f"example {example.id}: {error.message}", hint=error.hint, reason=error.reason)
            else:
                self.ledger.skip(example.id, BAD_PICTURE, error.message)
