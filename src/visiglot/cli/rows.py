"""The JSONL file of caption and ask: {id, image, language, prompt, text, error}, one of the last two null."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from visiglot.errors import DataError
from visiglot.files import split_lines, write_text

_BEGINNING = '{"id": "'
"""What every row that `row_line` writes begins with."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer about one picture, or about several together.

    Args:
        id: image, language and a hash of everything that the answer follows from; or what the user calls the row.
        image: the picture's name, those of several joined by "; ".
        language: FLORES-200 code; None when none was asked for.
        digest: the hash, of a row that the user has given an id ("" if it couldn't be asked); None of others, whose id
            has it.
    """

    id: str
    image: str
    language: str | None
    prompt: str
    text: str | None
    error: str | None
    digest: str | None = None

    @property
    def subject(self) -> tuple[str, str | None, str]:
        """What was asked, whoever answered."""
        return self.image, self.language, self.prompt


KEYS = tuple(field.name for field in fields(AnswerRow) if field.name != "digest")
"""Of a row; one with an id of the user's has its digest too."""


def row_line(row: AnswerRow) -> str:
    """One line, newline included."""
    values = asdict(row)
    if row.digest is None:
        del values["digest"]
    return json.dumps(values, ensure_ascii=False) + "\n"


class RowFile:
    """The rows of --out: those of before, which of them are kept, and those that come.

    Args:
        resume: keep the answers that are there to questions that are asked again.

    Raises:
        DataError: the file can't be read, or holds something that neither caption nor ask wrote.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self._before = list({row.id: row for row in read_rows(path)}.values())
        self._answers = {row.id: row for row in self._before if row.error is None} if resume else {}
        self._rows: dict[str, AnswerRow] = {}

    def start(self, asked: Iterable[AnswerRow]) -> None:
        """Make the file ready for rows to come: what was there, less what `asked`, as far as they are known, replace.

        Args:
            asked: rows without an answer yet.
        """
        asked = list(asked)
        answers = (self.kept(row) for row in asked)
        write_rows([*self._others(asked), *(row for row in answers if row is not None)], self.path)

    def kept(self, asked: AnswerRow) -> AnswerRow | None:
        """The answer to a question if it is there already, given by this very model with these settings."""
        row = self._rows.get(asked.id) or self._answers.get(asked.id)
        return row if row is not None and row.error is None and row.digest == asked.digest else None

    def add(self, rows: Sequence[AnswerRow]) -> None:
        """Take rows, of which those that aren't kept ones are appended. Raises DataError."""
        new = [row for row in rows if self.kept(row) != row]
        self._rows.update((row.id, row) for row in rows)
        append_rows(new, self.path)

    def finish(self) -> tuple[int, int]:
        """Put the file in order: rows about other things, then those of this run as they came. The numbers of both."""
        rows = list(self._rows.values())
        others = list(self._others(rows))
        write_rows([*others, *rows], self.path)
        return len(others), len(rows)

    def _others(self, asked: Sequence[AnswerRow]) -> Iterator[AnswerRow]:
        """Rows of before that `asked` don't replace: by their id, or by an answer of another model or setting to the
        same question, unless the user told the two apart by ids. Errors of lines that couldn't be asked go; each comes
        again if its line does."""
        ids = {row.id for row in asked}
        subjects = {row.subject for row in asked if row.digest is None}
        for row in self._before:
            replaced = row.id in ids or row.digest == "" or (row.digest is None and row.subject in subjects)
            if not replaced:
                yield row


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
    try:
        values = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is no JSON: {error}", hint="Name another --out, or delete the file.") from error
    if not isinstance(values, dict) or sorted(values.keys() - {"digest"}) != sorted(KEYS):
        raise DataError(
            f"{where} is no row of answers", hint=f"Such rows have the keys {', '.join(KEYS)}. Name another --out."
        )
    return AnswerRow(**values)
