"""Rows of Parquet and Arrow files with pictures in them, as the library `datasets` writes them.

A column of pictures is a struct of `bytes` and `path`, one of its fields or a list of such structs. In a scan the bytes
aren't read where the file says that none are missing: they are then `b""`.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visiglot.data.parquet import pyarrow
from visiglot.data.paths import check_path
from visiglot.data.rows import Place, Row, Where
from visiglot.errors import DataError, Notice

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Table
    from pyarrow.parquet import FileMetaData

MAX_KEPT_BYTES = 2**28
"""Size of the groups of rows that are kept after a read; the last one is kept whatever its size."""

LARGE_GROUP = 2**25
"""Bytes from which on a group of rows is slow to read for one of them; users are told."""

_PART_BITS = 32
"""A place holds the file's number above the number of the group of rows; its size is the row's number in there."""


@dataclass(frozen=True)
class ArrowRows:
    """The rows of files of one schema: Parquet (.parquet), or Arrow streams (.arrow), which are mapped into memory.

    Args:
        paths: the files.
        columns: those that are read.
        images: the one of them that holds pictures.
    """

    paths: Sequence[Path]
    columns: Sequence[str]
    images: str
    _groups: _Groups = field(init=False, repr=False, compare=False, default_factory=lambda: _Groups())

    @property
    def files(self) -> Sequence[Path]:
        return tuple(self.paths)

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        for number, file in enumerate(self._files):
            first = 0
            for group in range(len(file)):
                table, bare = file.read(group, bare=True)
                for n, values in enumerate(_values(table)):
                    if bare:
                        _fill(values, self.images)
                    place = Place(number << _PART_BITS | group, n)
                    yield place, Row(values, self._where(file.path, first + n), scanned=True)
                first += table.num_rows

    def read(self, place: Place) -> Row:
        number, group = place.offset >> _PART_BITS, place.offset & (1 << _PART_BITS) - 1
        file = self._files[number]
        if group >= len(file):
            raise self._changed(file.path)
        table, first = self._groups.get((number, group), lambda: (file.read(group, bare=False)[0], file.first(group)))
        if place.size >= table.num_rows:
            raise self._changed(file.path)
        return Row(table.slice(place.size, 1).to_pylist()[0], self._where(file.path, first + place.size))

    def _where(self, path: Path, number: int) -> Where:
        return Where(path, number, unit="row", offset=number)

    def _changed(self, path: Path) -> DataError:
        return DataError(f"{path} has changed while it was read", hint="Let it be while it is in use, and start again.")

    @cached_property
    def _files(self) -> tuple[_Parquet | _Stream, ...]:
        made: list[_Parquet | _Stream] = []
        for path in self.paths:
            if path.suffix not in (".parquet", ".arrow"):
                raise DataError(f"{path} is no .parquet or .arrow file", hint=check_path(path))
            kind = _Parquet if path.suffix == ".parquet" else _Stream
            made.append(kind(path, tuple(self.columns), self.images))
        return tuple(made)


@dataclass(frozen=True)
class _Parquet:
    """A Parquet file, whose groups are its row groups."""

    path: Path
    columns: tuple[str, ...]
    images: str

    def __len__(self) -> int:
        return int(self._metadata.num_row_groups)

    def first(self, group: int) -> int:
        """Number of the group's first row in the file."""
        return sum(self._metadata.row_group(n).num_rows for n in range(group))

    def read(self, group: int, *, bare: bool) -> tuple[Table, bool]:
        """A group of rows; whether the pictures' bytes are left out, which `bare` asks for."""
        pa, pq = pyarrow()
        names = list(self.columns)
        bare = bare and self._without_bytes(group)
        if bare:
            names = [name for name in names if name != self.images] + self._paths
        try:
            with pq.ParquetFile(self.path, metadata=self._metadata, memory_map=True) as file:
                return file.read_row_group(group, columns=names), bare
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, "Parquet", error) from error

    def _without_bytes(self, group: int) -> bool:
        """Whether the group says of the column of pictures that none lacks its bytes."""
        row_group = self._metadata.row_group(group)
        columns = [row_group.column(n) for n in range(row_group.num_columns)]
        found = [one for one in columns if one.path_in_schema in self._bytes]
        return bool(found and self._paths) and all(
            one.statistics is not None and one.statistics.has_null_count and one.statistics.null_count == 0
            for one in found
        )

    @cached_property
    def _leaves(self) -> list[str]:
        group = self._metadata.schema
        paths = [group.column(n).path for n in range(len(group.names))]
        return [path for path in paths if path.partition(".")[0] == self.images]

    @cached_property
    def _bytes(self) -> list[str]:
        return [path for path in self._leaves if path.endswith(".bytes")]

    @cached_property
    def _paths(self) -> list[str]:
        return [path for path in self._leaves if path.endswith(".path")]

    @cached_property
    def _metadata(self) -> FileMetaData:
        pa, pq = pyarrow()
        try:
            metadata = pq.read_metadata(self.path)
            _refuse_missing(self.path, self.columns, metadata.schema.to_arrow_schema().names)
        except FileNotFoundError as error:
            raise DataError(f"there is no file {self.path}", hint=check_path(self.path)) from error
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, "Parquet", error) from error
        largest = max((metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)), default=0)
        if largest > LARGE_GROUP:
            warnings.warn(
                f"{self.path} is read in groups of up to {largest >> 20:,} MiB, one for nearly each example in random "
                "order, which is slow: `visiglot data write` makes a file of small groups of it",
                Notice,
                stacklevel=2,
            )
        return metadata


@dataclass(frozen=True)
class _Stream:
    """A file of an Arrow stream, whose groups are its record batches, which are mapped into memory."""

    path: Path
    columns: tuple[str, ...]
    images: str

    def __len__(self) -> int:
        return len(self._batches)

    def first(self, group: int) -> int:
        """Number of the group's first row in the file."""
        return sum(batch.num_rows for batch in self._batches[:group])

    def read(self, group: int, *, bare: bool) -> tuple[Table, bool]:
        """A group of rows; whether the pictures' bytes are left out, which `bare` asks for."""
        pa, _ = pyarrow()
        table = pa.Table.from_batches([self._batches[group]]).select(list(self.columns))
        column = table.column(self.images).combine_chunks()
        names = [field.name for field in column.type] if pa.types.is_struct(column.type) else []
        if not bare or "bytes" not in names or column.null_count or column.field("bytes").null_count:
            return table, False
        paths = pa.StructArray.from_arrays([column.field("path")], ["path"]) if "path" in names else None
        if paths is None:
            return table, False
        return table.set_column(table.column_names.index(self.images), self.images, paths), True

    @cached_property
    def _batches(self) -> list[RecordBatch]:
        pa, _ = pyarrow()
        try:
            with pa.ipc.open_stream(pa.memory_map(str(self.path))) as reader:
                _refuse_missing(self.path, self.columns, reader.schema.names)
                return list(reader)
        except FileNotFoundError as error:
            raise DataError(f"there is no file {self.path}", hint=check_path(self.path)) from error
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, "an Arrow stream", error) from error


class _Groups:
    """The groups of rows that were read last, up to a number of bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], tuple[Table, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int], read: Any) -> tuple[Table, int]:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = read()
                size = sum(table.nbytes for table, _ in self._kept.values())
                while size > MAX_KEPT_BYTES and len(self._kept) > 1:
                    size -= self._kept.popitem(last=False)[1][0].nbytes
            self._kept.move_to_end(key)
            return self._kept[key]


def _values(table: Table) -> Iterator[dict[str, Any]]:
    """A group's rows, some at a time."""
    for batch in table.to_batches(max_chunksize=16):
        yield from batch.to_pylist()


def _fill(values: dict[str, Any], images: str) -> None:
    """Say of each picture that its bytes are there."""
    found = values.get(images)
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, dict):
            one["bytes"] = b""


def _refuse_missing(path: Path, columns: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in columns if name not in there]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(there)}",
            hint="Say in the options which column is which.",
        )


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f"{path} can't be read as {kind}: {error}", hint="Copy it again, or write it anew.")
