"""Rows in Parquet files, written so that equal rows give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visiglot.errors import DataError, MissingExtraError


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows`, which all have the first one's columns.

    Raises:
        DataError: there are no rows.
        MissingExtraError: pyarrow isn't installed.
        OSError: the file can't be written.
    """
    pa, pq = pyarrow()
    if not rows:
        raise DataError(f"no rows to write to {path}")
    table = pa.table({column: [row[column] for row in rows] for column in rows[0]})
    pq.write_table(table, path, compression="zstd", version="2.6", write_statistics=False)


def read_columns(path: Path) -> dict[str, list[Any]]:
    """All columns of a Parquet file as Python values.

    Raises:
        DataError: the file is missing or can't be read.
        MissingExtraError: pyarrow isn't installed.
    """
    pa, pq = pyarrow()
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} can't be read as Parquet: {error}") from error
    return columns


def pyarrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`. Raises MissingExtraError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow, which reads and writes Parquet,", "train") from error
    return pa, pq
