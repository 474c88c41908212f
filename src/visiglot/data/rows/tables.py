"""Rows of tables of text with tabs between the columns, also packed ones (.tsv.gz)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from visiglot.data.rows import FileBytes, Place, Row, Where, opened
from visiglot.data.rows.shards import unpacked
from visiglot.errors import DataError

MAX_FIELD = 2**24
"""Characters that one field may have; a quotation mark that is never closed ends there."""

_MARK = "\ufeff"


@dataclass(frozen=True)
class TableRows:
    """Lines of fields with tabs between them; a field in quotation marks may hold tabs and ends of lines, as in CSV.

    An empty field is none. A packed file is unpacked into the cache the first time.

    Args:
        path: the file.
        columns: their names in order; None: the first line names them.
    """

    path: Path
    columns: tuple[str, ...] | None = None

    @property
    def files(self) -> Sequence[Path]:
        return (self.path,)

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        csv.field_size_limit(MAX_FIELD)
        with opened(self._file) as file:
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter="\t")
            names = self.columns
            while True:
                start, number = lines.offset, lines.number + 1
                try:
                    fields = next(reader, None)
                except csv.Error as error:
                    raise DataError(f"{self.path}, line {number}: {error}", hint="Is it a file of tabs?") from error
                if fields is None:
                    return
                if names is None:
                    names = tuple(name.removeprefix(_MARK) for name in fields)
                elif fields:
                    where = Where(self.path, number, offset=start, unpacked=self._file)
                    yield Place(start, lines.offset - start), _row(names, fields, where, scanned=True)

    def read(self, place: Place) -> Row:
        csv.field_size_limit(MAX_FIELD)
        data = self._bytes.at(place)
        where = Where(self.path, offset=place.offset, unpacked=self._file)
        found = list(csv.reader(_Lines(BytesIO(data)), delimiter="\t"))
        if len(found) != 1:
            raise DataError(
                f"{self.path} has changed while it was read: there is no row at byte {place.offset:,}",
                hint="Let it be while it is in use, and start again.",
            )
        row = _row(self._names, found[0], where, scanned=False)
        if isinstance(row, DataError):
            raise row
        return row

    @cached_property
    def _file(self) -> Path:
        return unpacked(self.path)

    @cached_property
    def _bytes(self) -> FileBytes:
        return FileBytes(self._file)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        if self.columns is not None:
            return self.columns
        with opened(self._file) as file:
            first: list[str] = next(csv.reader(_Lines(file), delimiter="\t"), [])
        return tuple(name.removeprefix(_MARK) for name in first)


class _Lines:
    """Lines as text for a csv reader, counted as it takes them: it takes those of a row and no more."""

    def __init__(self, lines: Any) -> None:
        self._lines = iter(lines)
        self.offset = 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line: bytes = next(self._lines)
        self.offset += len(line)
        self.number += 1
        return line.decode("utf-8", errors="surrogateescape")


def _row(names: tuple[str, ...], fields: list[str], where: Where, *, scanned: bool) -> Row | DataError:
    if len(fields) != len(names):
        return DataError(f"{where}: has {len(fields)} columns, must have {len(names)}: {', '.join(names)}")
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return DataError(f"{where}: isn't UTF-8", hint="Save the file as UTF-8.")
    values = {name: text or None for name, text in zip(names, fields, strict=True)}
    return Row(values, where, scanned=scanned)
