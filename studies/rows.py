"""The lines of docs/study/<name>.jsonl: what was measured, and what a study asks for now.

Three kinds. A `plan` says which identity each cell of the study has (a study whose recipes or weights changed writes a
new one); a `cell` is a result under its identity; `memory` says what an arm took, under the identity of one of its
cells. Lines are only ever added, each with one synced write. A cell counts for every study that plans its identity,
whichever study measured it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studies.locks import locked
from visiglot.errors import EvaluationError
from visiglot.files import split_lines, write_text

KINDS = ("plan", "cell", "memory")

RESULTS = Path(__file__).parents[1] / "docs" / "study"

Row = dict[str, Any]


def path_of(study: str, folder: Path) -> Path:
    return folder / f"{study}.jsonl"


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, oldest first; none when it isn't there. What a killed process left of a last line is passed
    over.

    Raises:
        EvaluationError: a whole line is no row.
    """
    if not path.is_file():
        return []
    lines, rest = split_lines(path.read_text(encoding="utf-8", errors="replace"))
    if rest and _row(rest) is not None:
        lines.append(rest)  # whole, but for its end
    rows = []
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is None or row.get("kind") not in KINDS:
            raise EvaluationError(
                f"{path}, line {number} is no {', '.join(KINDS[:-1])} or {KINDS[-1]} of a study",
                hint="Restore the file from git.",
            )
        rows.append(row)
    return rows


def append_row(row: Mapping[str, Any], path: Path) -> None:
    """Add a line. A line that a killed process left unfinished is removed first.

    Raises:
        EvaluationError: the file can't be read or written.
    """
    with locked(f"rows-{path.name}"):
        _append(row, path)


def _append(row: Mapping[str, Any], path: Path) -> None:
    repair(path)
    line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(file, line)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise EvaluationError(f"{path} can't be written: {error.strerror or error}", hint="Make room.") from error
    if written < len(line):
        raise EvaluationError(f"{path}: the disk took {written} of {len(line)} bytes of a row", hint="Make room.")


def repair(path: Path) -> None:
    """End a last line that lacks its newline, or remove it when it was cut short."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    lines, rest = split_lines(text)
    if rest:
        kept = [*lines, rest] if _row(rest) is not None else lines
        write_text("".join(f"{line}\n" for line in kept), path, error=EvaluationError)


def _row(line: str) -> Row | None:
    """The object of a line; None when it is cut short or something else."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def measured(folder: Path) -> dict[str, Row]:
    """Every measured cell of every study by its identity; of duplicates the first."""
    found: dict[str, Row] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for row in read_rows(path):
            if row["kind"] == "cell":
                found.setdefault(row["identity"], row)
    return found


def last_plan(rows: Iterable[Row]) -> Row | None:
    return next((row for row in reversed(list(rows)) if row["kind"] == "plan"), None)
