"""Rows by their key: how one file's rows find those of another, without either in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visiglot.data.index_files import index_folder, mapped
from visiglot.data.progress import Progress
from visiglot.data.rows import Place, Row, Rows
from visiglot.errors import DataError

FORMAT = 2
"""Raised when the files of a lookup mean something else than before."""

KEPT = 10
"""Bad rows of which the problem is kept."""


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
        """The row with this key, None if there is none.

        Raises:
            DataError: the file can't be read; several rows that say different things have the key; or none has it, and
                some rows can't be used.
        """
        if key == self._last[0]:
            return self._last[1]
        self._last = key, self._find(key)
        return self._last[1]

    def _find(self, key: str) -> Row | None:
        hashes, places, bad = self._index
        hashed = np.uint64(_hash(key))
        at = int(np.searchsorted(hashes, hashed))
        found: Row | None = None
        while at < len(hashes) and hashes[at] == hashed:
            row = self.rows.read(Place(int(places[at, 0]), int(places[at, 1])))
            if self.key(row) == key:
                if found is not None and found.values != row.values:
                    raise DataError(
                        f"{found.where} and {row.where} have the same {self.kind}, {key}, and say different things",
                        hint="Remove one of them.",
                    )
                found = row
            at += 1
        if found is None and bad:
            raise DataError(
                f"no row of {self.rows.files[0]} has the {self.kind} {key}, and some can't be used: {bad[0]}"
            )
        return found

    @cached_property
    def _index(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], list[str]]:
        """Sorted hashes of the keys [n], the places of their rows [n, 2], and what is wrong with the first bad rows."""
        folder = index_folder(
            f"{self.kind} of {self.rows.files[0]}", self.rows.files, {"lookup": FORMAT, "kind": self.kind}, self._build
        )
        places = mapped(folder / "places.i64", np.int64).reshape(-1, 2)
        bad: list[str] = json.loads((folder / "bad.json").read_text(encoding="utf-8"))
        return mapped(folder / "hashes.u64", np.uint64), places, bad

    def _build(self, folder: Path) -> None:
        """Note keys and places some at a time, then sort them by key."""
        progress = Progress(f"{self.kind} of {self.rows.files[0]}", "rows")
        bad: list[str] = []
        with (folder / "keys").open("wb") as keys, (folder / "rows").open("wb") as rows:
            for place, row in self.rows.scan():
                progress.advance()
                try:
                    if isinstance(row, DataError):
                        raise row
                    keys.write(_hash(self.key(row)).to_bytes(8, "little"))
                except DataError as error:
                    bad.append(str(error)) if len(bad) < KEPT else None
                    continue
                rows.write(np.array(place, np.int64).tobytes())
        hashes, places = mapped(folder / "keys", np.uint64), mapped(folder / "rows", np.int64).reshape(-1, 2)
        order = np.argsort(hashes, kind="stable")
        (folder / "hashes.u64").write_bytes(hashes[order].tobytes())
        (folder / "places.i64").write_bytes(places[order].tobytes())
        (folder / "bad.json").write_text(json.dumps(bad), encoding="utf-8")
        del hashes, places
        for name in ("keys", "rows"):
            (folder / name).unlink()
        progress.done()


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
