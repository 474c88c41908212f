"""Examples by number in files of any size, through an index on disk.

The first opening goes through the file once, makes every example of it, and notes for each its row, its number in the
row and its language; what is wrong with a row is found then. Later openings map the index: they take no time and no
memory that grows with the file. The index is good for the same files (size and time of change), options and version of
the adapter.

    places.i64 [rows, 2]     first byte and size of each row
    rows.i32 [n]             the row of each example
    within.i16 [n]           its number in the row
    order.i32 [n]            the examples by language, in the file's order within one
    index.json               the languages' shares of `order`, and counts
    bad.jsonl                what was left out
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from visiglot.data.adapter import Reading
from visiglot.data.index_files import index_folder, mapped
from visiglot.data.ledger import BAD_ROW
from visiglot.data.progress import Progress
from visiglot.data.rows import Place, Row
from visiglot.data.source import Indices
from visiglot.errors import DataError, VisiglotError
from visiglot.types import Example, OnBad

FORMAT = 1
"""Raised when the files of an index mean something else than before."""

GIVEN_UP = 1000
"""Rows of which none can be used, after which the rest isn't tried if so many may not be left out."""

CHUNK = 2**16
"""Examples whose numbers are held in memory before they are written."""


class IndexedSource:
    """The examples of a file through its index.

    Args:
        name: what messages call it.
        reading: how its rows become examples.
        folder: the index.
        languages: those in `by_language`.

    Attributes:
        scanned: rows that the file has, bad ones included.
        bad: reason -> rows that were left out.
        ledger: the file that names those, where there are any.
    """

    def __init__(self, name: str, reading: Reading, folder: Path, languages: Sequence[str]) -> None:
        self.name = name
        self.reading = reading
        self.folder = folder
        about = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.scanned: int = about["rows"]
        self.bad: Mapping[str, int] = about["bad"]
        self.ledger = folder / "bad.jsonl"
        self._places = mapped(folder / "places.i64", np.int64).reshape(-1, 2)
        self._rows = mapped(folder / "rows.i32", np.int32)
        self._within = mapped(folder / "within.i16", np.int16)
        order = mapped(folder / "order.i32", np.int32)
        self.by_language: Mapping[str, Indices] = {
            code: order[start:stop] for code, (start, stop) in about["languages"].items() if code in languages
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        return self.reading.examples(self.row(index))[int(self._within[index])]

    @property
    def files(self) -> Sequence[Path]:
        """That its rows are read from, and others that the examples depend on."""
        return (*self.reading.rows.files, *self.reading.reads)

    @property
    def row_numbers(self) -> Indices:
        """The row of each example, ascending [n]; rows without examples don't count."""
        return self._rows

    def row(self, index: int) -> Row:
        """The row that an example is in, perhaps with others."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no number {index}")
        offset, size = self._places[self._rows[index]]
        return self.reading.rows.read(Place(int(offset), int(size)))


def open_indexed(
    name: str,
    reading: Reading,
    *,
    identity: Mapping[str, Any],
    languages: Sequence[str],
    on_bad: OnBad,
    max_bad: float,
) -> IndexedSource:
    """Open a source; the first time its index is made, which is then kept in the cache.

    Args:
        name: what messages call it.
        reading: how its rows become examples.
        identity: what the examples follow from besides the files.
        languages: FLORES-200 codes.
        on_bad: what a row that can't be used does: raise, or be left out and counted.
        max_bad: share of the rows that may be left out.

    Raises:
        DataError: a file can't be read, a bad row ("error"), or too many of them ("skip").
    """
    folder = index_folder(
        name,
        (*reading.rows.files, *reading.reads),
        {"index": FORMAT, "on_bad": on_bad, "max_bad": max_bad, **identity},
        lambda part: _Builder(name, reading, part, on_bad, max_bad).build(),
    )
    return IndexedSource(name, reading, folder, languages)


class _Builder:
    """Goes through the rows once."""

    def __init__(self, name: str, reading: Reading, folder: Path, on_bad: OnBad, max_bad: float) -> None:
        self.name = name
        self.reading = reading
        self.folder = folder
        self.on_bad = on_bad
        self.max_bad = max_bad
        self.rows = self.bad = 0
        self.first_bad = ""
        self.codes: dict[str, int] = {}
        self.counts: list[int] = []

    def build(self) -> None:
        with (
            (self.folder / "places.i64").open("wb") as places,
            (self.folder / "rows.i32").open("wb") as rows,
            (self.folder / "within.i16").open("wb") as within,
            (self.folder / "languages.i16").open("wb") as languages,
            (self.folder / "bad.jsonl").open("w", encoding="utf-8") as ledger,
        ):
            self._scan((places, rows, within, languages), ledger)
        self._judge()
        starts = np.cumsum([0, *self.counts]).tolist()
        self._sort(starts)
        (self.folder / "languages.i16").unlink()
        about = {
            "languages": {code: [starts[n], starts[n + 1]] for code, n in self.codes.items()},
            "rows": self.rows,
            "bad": {BAD_ROW: self.bad} if self.bad else {},
        }
        (self.folder / "index.json").write_text(json.dumps(about), encoding="utf-8")

    def _scan(self, files: Sequence[BinaryIO], ledger: TextIO) -> None:
        """Note every example; rows that are left out keep no place, but have a line in the ledger."""
        kept = 0
        held: tuple[list[Any], ...] = ([], [], [], [])
        progress = Progress(f"{self.name}: going through {self.reading.rows.files[0]}", "rows")

        def flush() -> None:
            for values, file, kind in zip(held, files, (np.int64, np.int32, np.int16, np.int16), strict=True):
                file.write(np.array(values, dtype=kind).tobytes())
                values.clear()

        for place, row in self.reading.rows.scan():
            self.rows += 1
            progress.advance()
            try:
                if isinstance(row, DataError):
                    raise row
                examples = self.reading.examples(row)
            except VisiglotError as error:
                if self.on_bad == "error":
                    raise
                self._leave_out(error, ledger)
                continue
            if not examples:
                continue
            held[0].append(place)
            for number, example in enumerate(examples):
                held[1].append(kept)
                held[2].append(number)
                held[3].append(self._number_of(example.language))
            kept += 1
            if len(held[1]) >= CHUNK:
                flush()
        flush()
        progress.done()

    def _leave_out(self, error: VisiglotError, ledger: TextIO) -> None:
        self.bad += 1
        self.first_bad = self.first_bad or error.message
        line = {"id": _start_of(error), "reason": BAD_ROW, "detail": error.message}
        ledger.write(f"{json.dumps(line)}\n")
        if self.bad == self.rows == GIVEN_UP:
            self._judge()

    def _judge(self) -> None:
        """Raises DataError: too many rows were left out, of all that there are or of very many at the start."""
        if self.bad > self.max_bad * self.rows:
            raise DataError(
                f"{self.bad:,} of {self.rows:,} rows of {self.name} can't be used, more than the allowed "
                f"{self.max_bad:.1%}; the first: {self.first_bad}",
                hint="`visiglot data check` lists them. Mend them, or raise max_bad.",
            )

    def _number_of(self, code: str) -> int:
        number = self.codes.get(code)
        if number is None:
            number = self.codes[code] = len(self.counts)
            self.counts.append(0)
        self.counts[number] += 1
        return number

    def _sort(self, starts: Sequence[int]) -> None:
        """The examples by language, some at a time."""
        total = starts[-1]
        order = np.memmap(self.folder / "order.i32", np.int32, "w+", shape=(total,)) if total else None
        if order is None:
            (self.folder / "order.i32").touch()
            return
        languages = mapped(self.folder / "languages.i16", np.int16)
        cursor = np.array(starts[:-1])
        for first in range(0, total, CHUNK):
            some = np.asarray(languages[first : first + CHUNK])
            for number in np.unique(some):
                found = np.flatnonzero(some == number) + first
                order[cursor[number] : cursor[number] + len(found)] = found
                cursor[number] += len(found)
        order.flush()


def _start_of(error: VisiglotError) -> str:
    """File and line, which the message of a bad row begins with."""
    return error.message.partition(", field ")[0].partition(": ")[0]
