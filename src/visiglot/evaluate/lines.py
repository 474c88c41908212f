"""Files of an evaluation folder with a dataclass a line, read and written whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from visiglot.errors import EvaluationError
from visiglot.files import split_lines, write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def read_lines(path: Path, kind: type[R], values: Callable[[dict[str, Any]], dict[str, Any]], *, hint: str) -> list[R]:
    """The rows of a file; empty where there is none.

    Args:
        kind: of the rows; a line is an object with all of its fields and no others.
        values: fields, as JSON has them -> those that aren't of a type of JSON, as `kind` has them.
        hint: what to do about a file that is broken.

    Raises:
        EvaluationError: the file can't be read, or a line is no such row.
    """
    if not path.is_file():
        return []
    names = {field.name for field in fields(kind)}
    try:
        lines, rest = split_lines(path.read_text(encoding="utf-8"))
        rows = [json.loads(line) for line in (*lines, rest) if line]
        if not all(set(row) == names for row in rows):
            raise ValueError(f"a line that hasn't {', '.join(sorted(names))}")
        return [kind(**{**row, **values(row)}) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise EvaluationError(f"{path} can't be read: {error}", hint=hint) from error


def number(value: float | None) -> float:
    """A field that `write_lines` may have written as null."""
    return math.nan if value is None else float(value)


def write_lines(rows: Iterable[DataclassInstance], path: Path) -> None:
    """Replace the file by `rows`, atomically; a field that is NaN is written as null. Raises EvaluationError."""
    write_text("".join(map(_line, rows)), path, error=EvaluationError)


def _line(row: DataclassInstance) -> str:
    values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(row).items()}
    return json.dumps(values, ensure_ascii=False) + "\n"
