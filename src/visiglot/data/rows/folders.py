"""Rows of folders of pictures: one for each folder below a root."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visiglot.data.index_files import index_folder, mapped
from visiglot.data.paths import check_path
from visiglot.data.progress import Progress
from visiglot.data.rows import FileBytes, Place, Row, Where
from visiglot.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class FolderRows:
    """A row for each folder, sorted by name, with the fields "folder" (its name) and "pictures" (sorted names).

    The folders are listed once, into the cache; they count as changed when pictures were added or taken away.

    Args:
        root: the folder that the folders are in.
    """

    root: Path

    @property
    def files(self) -> Sequence[Path]:
        return (self.root, *self._folders)

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        for number in range(len(self._folders)):
            yield Place(number, 1), self._row(number, scanned=True)

    def read(self, place: Place) -> Row:
        return self._row(place.offset, scanned=False)

    def _row(self, number: int, *, scanned: bool) -> Row:
        starts, names = self._listing
        first, end = int(starts[number]), int(starts[number + 1])
        pictures = names.at(Place(first, end - first)).decode("utf-8", "surrogateescape").split("\n")[:-1]
        folder = self._folders[number]
        values = {"folder": folder.name, "pictures": pictures}
        return Row(values, Where(self.root, folder.name, unit="folder", offset=number), folder.name, scanned)

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        try:
            with os.scandir(self.root) as entries:
                return tuple(sorted(self.root / entry.name for entry in entries if entry.is_dir()))
        except OSError as error:
            raise DataError(
                f"the folder {self.root} can't be read: {error.strerror or error}", hint=check_path(self.root)
            ) from error

    @cached_property
    def _listing(self) -> tuple[NDArray[np.int64], FileBytes]:
        """Where each folder's names begin, and the last ones end [folders + 1], in a file of names."""
        folder = index_folder(f"pictures in {self.root}", self.files, {"folders": 1}, self._build)
        return mapped(folder / "starts.i64", np.int64), FileBytes(folder / "names")

    def _build(self, target: Path) -> None:
        progress = Progress(f"listing {self.root}", "folders")
        starts = [0]
        with (target / "names").open("wb") as out:
            for folder in self._folders:
                names = sorted(
                    name for name in os.listdir(folder) if name.lower().endswith(ENDINGS) and "\n" not in name
                )
                lines = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
                starts.append(starts[-1] + out.write(lines))
                progress.advance()
        (target / "starts.i64").write_bytes(np.array(starts, np.int64).tobytes())
        progress.done()
