"""Data sets in several files: which files a path means, packed files, and rows of many files as those of one."""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from visiglot.data.index_files import index_folder
from visiglot.data.paths import check_path
from visiglot.data.progress import Progress
from visiglot.data.rows import Place, Row, Rows, opened
from visiglot.data.rows.base import CHUNK
from visiglot.errors import DataError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SIZE_BITS = 40
"""A place holds the file's number above its size: files of up to 4 million in number, rows of up to a terabyte."""


def files_of(path: Path, *suffixes: str) -> tuple[Path, ...]:
    """The files that a path means, sorted by name, or for a range of numbers in its order.

    Args:
        path: a file, a folder (its files with one of the suffixes), a pattern with "*", or one with a range of numbers
            ("train-{000..127}.tar").
        suffixes: endings of names, with the dot.

    Raises:
        DataError: there is no such file.
    """
    if _RANGE.search(str(path)):
        return tuple(map(Path, _ranges(str(path))))
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.name.endswith(suffixes) and one.is_file())
        what = f"no file that ends with {' or '.join(suffixes)} in {path}"
    elif "*" in path.name:
        found = sorted(one for one in path.parent.glob(path.name) if one.is_file())
        what = f"no file {path}"
    else:
        return (path,)
    if not found:
        raise DataError(f"there is {what}", hint=check_path(path))
    return tuple(found)


def unpacked(path: Path) -> Path:
    """The file itself, or what is packed in a .gz file, which the first time is written into the cache.

    Raises:
        DataError: the file can't be read, or the cache can't be written.
    """
    if path.suffix != ".gz":
        return path
    folder = index_folder(str(path), (path,), {"unpacked": 1}, lambda part: _unpack(path, part / path.stem))
    return folder / path.stem


@dataclass(frozen=True)
class ShardRows:
    """The rows of several files, one file after the other.

    Args:
        parts: the rows of each file.
    """

    parts: Sequence[Rows]

    @property
    def files(self) -> Sequence[Path]:
        return tuple(file for part in self.parts for file in part.files)

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        for number, part in enumerate(self.parts):
            for place, row in part.scan():
                yield Place(place.offset, place.size | number << _SIZE_BITS), row

    def read(self, place: Place) -> Row:
        part = self.parts[place.size >> _SIZE_BITS]
        return part.read(Place(place.offset, place.size & (1 << _SIZE_BITS) - 1))


def _ranges(pattern: str) -> list[str]:
    """A pattern's texts, every range of numbers written out with as many digits as its first number has."""
    pieces = _RANGE.split(pattern)
    texts = pieces[::3]
    ranges = [
        [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    if not all(ranges):
        raise DataError(f"{pattern}: a range of numbers is empty", hint="Write the smaller number first: {000..127}.")
    return [
        "".join(itertools.chain.from_iterable(zip(texts, (*numbers, ""), strict=True)))
        for numbers in itertools.product(*ranges)
    ]


def _unpack(packed: Path, target: Path) -> None:
    progress = Progress(f"unpacking {packed}", "parts of 4 MiB")
    with opened(packed) as file, gzip.open(file) as stream, target.open("wb") as out:
        while True:
            try:
                data = stream.read(CHUNK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(
                    f"{packed} can't be unpacked: {error}", hint="Copy or fetch the file again; it may be cut short."
                ) from error
            if not data:
                break
            out.write(data)
            progress.advance()
    progress.done()
