"""Benchmarks in Parquet files with the pictures inside: rows with their pictures, unpacked once into the cache."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from visiglot.data.index_files import index_folder
from visiglot.data.parquet import pyarrow
from visiglot.data.progress import Progress
from visiglot.data.rows import Row, Where
from visiglot.errors import DataError
from visiglot.evaluate.written import list_in
from visiglot.types import ImageRef

FORMAT = 1
"""Raised when what is unpacked means something else than before."""

ROWS = 16
"""Rows that are held in memory at a time."""


def packed_rows(
    what: str, file: Path, files: Sequence[Path], columns: Sequence[str], pictures: Sequence[str]
) -> Iterator[tuple[Row, tuple[ImageRef, ...]]]:
    """The rows of a Parquet file and the pictures of each, called by the hash of their bytes.

    Args:
        what: what progress and messages call the pictures.
        file: one of `files`, whose pictures are unpacked together, each once.
        columns: that are read beside the pictures; a file that lacks one is refused.
        pictures: columns of pictures (a struct with `bytes`, a text in base64, or a list of such), which may be null
            or an empty text; those that the file hasn't are passed over.

    Raises:
        DataError: the file can't be read as Parquet, or a picture has no bytes.
    """
    folder = index_folder(
        what, tuple(files), {"packed": FORMAT, "pictures": list(pictures)}, partial(_unpack, what, files, pictures)
    )
    names = json.loads((folder / f"{files.index(file)}.json").read_text(encoding="utf-8"))
    for row, own in zip(_rows(file, columns), names, strict=True):
        yield row, tuple(ImageRef(name, path=folder / name) for name in own)


def written_list(row: Row, name: str) -> list[object] | None:
    """A list, or a text that is the writing of one in Python; None for anything else."""
    value = row.need(name)
    if isinstance(value, str):
        return list_in(value)
    return value if isinstance(value, list) else None


def _unpack(what: str, files: Sequence[Path], pictures: Sequence[str], folder: Path) -> None:
    progress = Progress(f"unpacking {what}", "rows")
    for number, file in enumerate(files):
        names = []
        there = [name for name in pictures if name in _columns(file)]
        if not there:
            raise DataError(f"{file} has no column of pictures ({', '.join(pictures)}); it has {_listed(file)}")
        for row in _rows(file, there):
            progress.advance()
            names.append([_kept(data, folder) for name in there for data in _data(row, name)])
        (folder / f"{number}.json").write_text(json.dumps(names), encoding="utf-8")
    progress.done()


def _data(row: Row, name: str) -> Iterator[bytes]:
    value = row.get(name)
    for one in value if isinstance(value, list) else [value]:
        if one is None or one == "":
            continue
        data = one.get("bytes") if isinstance(one, Mapping) else one
        if isinstance(data, str):
            try:
                data = base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError) as error:
                raise row.error(name, f"is no picture in base64: {error}") from error
        if not isinstance(data, bytes):
            raise row.error(name, "is a picture without bytes")
        yield data


def _kept(data: bytes, folder: Path) -> str:
    name = hashlib.sha256(data).hexdigest()
    path = folder / name
    if not path.exists():
        path.write_bytes(data)
    return name


def _rows(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    pa, pq = pyarrow()
    missing = [name for name in columns if name not in _columns(file)]
    if missing:
        raise DataError(f"{file} has no column {', '.join(map(repr, missing))}; it has {_listed(file)}")
    try:
        with pq.ParquetFile(file) as opened:
            number = 0
            for batch in opened.iter_batches(batch_size=ROWS, columns=list(columns)):
                for values in batch.to_pylist():
                    yield Row(values, Where(file, number, unit="row", offset=number))
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} can't be read as Parquet: {error}", hint="Copy it again.") from error


def _columns(file: Path) -> Sequence[str]:
    pa, pq = pyarrow()
    try:
        names: list[Any] = pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} can't be read as Parquet: {error}", hint="Copy it again.") from error
    return names


def _listed(file: Path) -> str:
    return ", ".join(_columns(file))
