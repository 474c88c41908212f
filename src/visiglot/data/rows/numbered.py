"""Rows that know their position in their file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visiglot.data.rows import Place, Row, Rows
from visiglot.errors import DataError

_SIZE_BITS = 32
"""A place holds the row's position above its size: rows of up to 4 GB, 2 thousand million of them."""


@dataclass(frozen=True)
class NumberedRows:
    """`rows`, each with its position among them, from 0, as its key. Rows that can't be used have one too."""

    rows: Rows

    @property
    def files(self) -> Sequence[Path]:
        return self.rows.files

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        for number, (place, row) in enumerate(self.rows.scan()):
            numbered = Place(place.offset, place.size | number << _SIZE_BITS)
            yield numbered, row if isinstance(row, DataError) else replace(row, key=str(number))

    def read(self, place: Place) -> Row:
        number, size = place.size >> _SIZE_BITS, place.size & (1 << _SIZE_BITS) - 1
        return replace(self.rows.read(Place(place.offset, size)), key=str(number))
