"""The JSONL file of caption and ask: {id, image, language, prompt, text, error}, one of the last two null."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from visiglot.errors import DataError
from visiglot.files import split_lines, write_text

_BEGINNING = '{"id": "'
"""What every row that `row_line` writes begins with."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer about one picture.

    Args:
        id: image, language and a hash of everything that the answer follows from.
        language: FLORES-200 code; None when none was asked for.
    """

    id: str
    image: str
    language: str | None
    prompt: str
    text: str | None
    error: str | None


def row_line(row: AnswerRow) -> str:
    """One line, newline included."""
    return json.dumps(asdict(row), ensure_ascii=False) + "\n"


def read_rows(path: Path) -> list[AnswerRow]:
    """The file's rows; a last line that a killed run cut off is left out, and a missing file has none.

    Raises:
        DataError: the file can't be read, or a line of it (the last one too) is nothing that caption or ask wrote.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}", hint="Name another --out.") from error
    lines, rest = split_lines(text)
    if rest.strip() and not _is_cut_off(rest):
        lines.append(rest)
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _is_cut_off(line: str) -> bool:
    """Whether a line without its end is the beginning of a row, and not the whole of something else."""
    try:
        json.loads(line)
    except ValueError:
        return line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
    return False


def write_rows(rows: Iterable[AnswerRow], path: Path) -> None:
    """Replace the file, atomically. Raises VisiglotError."""
    write_text("".join(map(row_line, rows)), path)


def append_rows(rows: Sequence[AnswerRow], path: Path) -> None:
    """Add rows at the end.

    Raises:
        DataError: the file can't be written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("".join(map(row_line, rows)))
    except OSError as error:
        raise DataError(
            f"{path} can't be written: {error.strerror or error}",
            hint="Free some space and run the same command again; what is there is kept.",
        ) from error


def _row(line: str, where: str) -> AnswerRow:
    keys = [field.name for field in fields(AnswerRow)]
    try:
        values = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is no JSON: {error}", hint="Name another --out, or delete the file.") from error
    if not isinstance(values, dict) or sorted(values) != sorted(keys):
        raise DataError(
            f"{where} is no row of answers", hint=f"Such rows have the keys {', '.join(keys)}. Name another --out."
        )
    return AnswerRow(**values)
