"""Rows of parallel text files: line N of each file belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visiglot.data.index_files import index_folder, mapped
from visiglot.data.rows import FileBytes, Place, Row, Where, opened
from visiglot.data.rows.base import CHUNK
from visiglot.data.rows.shards import unpacked
from visiglot.errors import DataError


@dataclass(frozen=True)
class LineRows:
    """One row for each line, with a field for each file. An empty line is an empty text.

    Args:
        texts: name of the field -> file, which may be packed (.gz).
    """

    texts: Mapping[str, Path]

    @property
    def files(self) -> Sequence[Path]:
        return tuple(self.texts.values())

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        """As of all rows; a place counts lines. Raises DataError: the files differ in their numbers of lines."""
        for number in range(len(self._starts[0]) - 1):
            try:
                row: Row | DataError = self._row(number, scanned=True)
            except DataError as error:
                row = error
            yield Place(number, 1), row

    def read(self, place: Place) -> Row:
        return self._row(place.offset, scanned=False)

    def where(self, row: Row, name: str) -> Row:
        """The row as one of the file that field `name` is from, for messages."""
        where = Where(self.texts[name], row.where.number)
        return Row({name: row.values[name]}, where, scanned=row.scanned)

    def _row(self, number: int, *, scanned: bool) -> Row:
        values = {}
        for (name, path), starts, file in zip(self.texts.items(), self._starts, self._files, strict=True):
            first, end = int(starts[number]), int(starts[number + 1])
            try:
                values[name] = file.at(Place(first, end - first)).decode("utf-8-sig" if not number else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number + 1}: isn't UTF-8: {error}", hint="Save the file as UTF-8."
                ) from error
        return Row(values, Where(self.files[0], number + 1, offset=number), scanned=scanned)

    @cached_property
    def _files(self) -> tuple[FileBytes, ...]:
        return tuple(FileBytes(unpacked(path)) for path in self.files)

    @cached_property
    def _starts(self) -> tuple[NDArray[np.int64], ...]:
        """Of each file the first byte of every line, and its size [lines + 1]."""
        folder = index_folder(f"lines of {self.files[0]}", self.files, {"lines": 1}, self._build)
        return tuple(mapped(folder / f"{n}.i64", np.int64) for n in range(len(self.files)))

    def _build(self, folder: Path) -> None:
        counts = [_write_starts(unpacked(path), folder / f"{n}.i64") for n, path in enumerate(self.files)]
        for path, count in zip(self.files, counts, strict=True):
            if count != counts[0]:
                raise DataError(
                    f"{self.files[0]} has {counts[0]:,} lines, but {path} has {count:,}",
                    hint="Line N of each file belongs together: take all files from one release.",
                )


def _write_starts(path: Path, target: Path) -> int:
    """Note where lines begin and where the last one ends; returns how many lines there are."""
    count, base, last = 0, 0, b"\n"
    with opened(path) as file, target.open("wb") as out:
        out.write(np.zeros(1, np.int64).tobytes())
        while data := file.read(CHUNK):
            ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).astype(np.int64) + base + 1
            out.write(ends.tobytes())
            count += len(ends)
            base, last = base + len(data), data[-1:]
        if last != b"\n":
            out.write(np.array([base], np.int64).tobytes())
            count += 1
    return count
