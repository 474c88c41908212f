"""Rows by their key: how one file's rows find those of another, without either in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visiglot.data.index_files import index_folder, mapped
from visiglot.data.progress import Progress
from visiglot.data.rows import Place, Row, Rows
from visiglot.errors import DataError

FORMAT = 1
"""Raised when the files of a lookup mean something else than before."""


class Lookup:
    """The rows of a file by a key of theirs, through an index on disk that is made at the first question.

    Args:
        rows: of the file.
        key: of a row, unique in the file; it raises DataError for a row that has none.
        kind: what keys are called, and part of the index's name ("question_id").
    """

    def __init__(self, rows: Rows, key: Callable[[Row], str], kind: str) -> None:
        self.rows = rows
        self.key = key
        self.kind = kind
        self._last: tuple[str | None, Row | None] = (None, None)

    def find(self, key: str) -> Row | None:
        """The row with this key, None if there is none. Raises DataError: the file can't be read."""
        if key == self._last[0]:
            return self._last[1]
        self._last = key, self._find(key)
        return self._last[1]

    def _find(self, key: str) -> Row | None:
        hashes, places = self._index
        hashed = np.uint64(_hash(key))
        at = int(np.searchsorted(hashes, hashed))
        while at < len(hashes) and hashes[at] == hashed:
            row = self.rows.read(Place(int(places[at, 0]), int(places[at, 1])))
            if self.key(row) == key:
                return row
            at += 1
        return None

    @cached_property
    def _index(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Sorted hashes of the keys [n], and the places of their rows [n, 2]."""
        folder = index_folder(
            f"{self.kind} of {self.rows.files[0]}", self.rows.files, {"lookup": FORMAT, "kind": self.kind}, self._build
        )
        places = mapped(folder / "places.i64", np.int64).reshape(-1, 2)
        return mapped(folder / "hashes.u64", np.uint64), places

    def _build(self, folder: Path) -> None:
        hashes: list[int] = []
        places: list[Place] = []
        progress = Progress(f"{self.kind} of {self.rows.files[0]}", "rows")
        for place, row in self.rows.scan():
            if isinstance(row, DataError):
                raise row
            hashes.append(_hash(self.key(row)))
            places.append(place)
            progress.advance()
        order = np.argsort(np.array(hashes, np.uint64), kind="stable")
        (folder / "hashes.u64").write_bytes(np.array(hashes, np.uint64)[order].tobytes())
        (folder / "places.i64").write_bytes(np.array(places, np.int64).reshape(-1, 2)[order].tobytes())
        progress.done()


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
