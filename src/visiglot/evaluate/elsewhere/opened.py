"""The rows of a file of answers: lines of JSON, a JSON list, a table with tabs, or an Excel workbook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from zipfile import BadZipFile

from visiglot.data.rows import JsonRows, Row, Where, opened
from visiglot.data.rows.tables import TableRows
from visiglot.errors import DataError, EvaluationError
from visiglot.evaluate.published import all_rows


def rows_of(path: Path) -> Iterator[Row]:
    """Every row of the file, in its order.

    Raises:
        DataError: the file can't be read, or a row is broken.
        EvaluationError: there is no such file, files of this kind aren't read, or openpyxl is needed and not installed.
    """
    if not path.is_file():
        raise EvaluationError(f"{path} can't be read: there is no such file", hint="Check the path.")
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise EvaluationError(f"{path}: files of answers are {', '.join(KINDS)}, not {kind or 'without an ending'}")
    return KINDS[kind](path)


def _lines(path: Path) -> Iterator[Row]:
    return all_rows(JsonRows(path, lines=True))


def _json(path: Path) -> Iterator[Row]:
    """A list of objects; else lines of JSON, as some programs write them under this name."""
    with opened(path) as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return all_rows(JsonRows(path, lines=not start.startswith(b"[")))


def _table(path: Path) -> Iterator[Row]:
    return all_rows(TableRows(path))


def _workbook(path: Path) -> Iterator[Row]:
    """The first sheet; its first row has the names of the columns."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise EvaluationError(
            f"{path} is an Excel workbook, and openpyxl isn't installed",
            hint="pip install openpyxl; or let VLMEvalKit write another kind, by PRED_FORMAT=tsv.",
        ) from error
    with opened(path) as file:
        try:
            book = load_workbook(file, read_only=True, data_only=True)
            lines = book.worksheets[0].iter_rows(values_only=True)
            names = [str(name) for name in next(lines, ())]
            for number, line in enumerate(lines, start=2):
                yield Row(dict(zip(names, line)), Where(path, number, unit="row"))
        except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
            raise DataError(f"{path} can't be read as a workbook: {error}", hint="Copy it again.") from error


KINDS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json,
    ".tsv": _table,
    ".xlsx": _workbook,
}
"""What a file's name ends in -> how its rows are read."""
