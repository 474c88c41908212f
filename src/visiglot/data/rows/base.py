"""Rows of data files of any size: gone through once as a stream, then read one by one where they lie.

A `Row` knows its file and line, so that whatever is wrong with a field is said with its place.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from visiglot.data.paths import check_path
from visiglot.errors import DataError, LanguageError
from visiglot.languages import language

CHUNK = 2**22
"""Bytes that a scan reads at a time."""


class Place(NamedTuple):
    """Where a row lies in its file: first byte and number of bytes, or what a kind of file counts instead."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Where:
    """A row's place as messages say it: "FILE, line N", and which row where a line has several.

    Args:
        path: the file.
        number: of the line, or number or name of whatever `unit` says; None: the lines before `offset` are counted
            when it is said.
        offset: the row's first byte.
        row: number (from 1) or key of the row, where earlier ones stand in the same line.
        unpacked: the file in which lines are counted, where `path` is a packed one.
    """

    path: Path
    number: int | str | None = None
    unit: str = "line"
    offset: int = 0
    unpacked: Path | None = None
    row: int | str | None = None

    def __str__(self) -> str:
        number = self.number
        if number is None:
            number = _lines_before(self.unpacked or self.path, self.offset) + 1
        return f"{self.path}, {self.unit} {number}" + ("" if self.row is None else f", row {self.row}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row's values and where it stands.

    Args:
        values: its fields.
        where: file and line.
        key: its name, in files where rows have one.
        scanned: read while a file is gone through, when nobody looks at pictures.
        prefix: the path of these values in their row, for messages ("turns[2].").
    """

    values: Mapping[str, Any]
    where: Where
    key: str = ""
    scanned: bool = False
    prefix: str = ""

    def error(self, name: str, problem: str, *, hint: str | None = None) -> DataError:
        """What to raise about a field. `problem` follows its name: "is empty"."""
        return DataError(f"{self.where}, field `{self.prefix}{name}`: {problem}", hint=hint)

    def get(self, *names: str) -> Any:
        """The value of the first of `names` that the row has and that isn't null, else None."""
        for name in names:
            value = self.values.get(name)
            if value is not None:
                return value
        return None

    def need(self, *names: str) -> Any:
        """`get`. Raises DataError: the row has none of them."""
        value = self.get(*names)
        if value is None:
            raise self.error(names[0], "is missing")
        return value

    def text(self, *names: str) -> str:
        """A text with something in it, white space around it taken off. Raises DataError."""
        return self._text(self.need(*names), names[0])

    def texts(self, *names: str) -> tuple[str, ...]:
        """A list of such texts, not empty. Raises DataError."""
        values = self.need(*names)
        if not isinstance(values, list) or not values:
            raise self.error(names[0], f"must be a list with something in it, found {shown(values)}")
        return tuple(self._text(value, f"{names[0]}[{n}]") for n, value in enumerate(values))

    def integer(self, *names: str) -> int:
        """A whole number, also one written as text. Raises DataError."""
        value = self.need(*names)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise self.error(names[0], f"must be a whole number, found {shown(value)}")
        try:
            return int(value)
        except ValueError:
            raise self.error(names[0], f"must be a whole number, found {shown(value)}") from None

    def name(self, *names: str) -> str:
        """A text or a whole number, as text: what ids are. Raises DataError."""
        value = self.need(*names)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self._text(value, names[0])

    def rows(self, *names: str) -> list[Row]:
        """A list of objects, not empty, each as a row of its own. Raises DataError."""
        values = self.need(*names)
        if not isinstance(values, list) or not values:
            raise self.error(names[0], f"must be a list with something in it, found {shown(values)}")
        found = []
        for n, value in enumerate(values):
            if not isinstance(value, Mapping):
                raise self.error(f"{names[0]}[{n}]", f"must be an object, found {shown(value)}")
            found.append(Row(value, self.where, self.key, self.scanned, f"{self.prefix}{names[0]}[{n}]."))
        return found

    def language(self, *names: str, default: str | None = None) -> str:
        """FLORES-200 code of the language that a field names; `default` where there is no such field.

        Raises:
            DataError: unknown or ambiguous, or the row has none of the fields and there is no default.
        """
        if default is not None and self.get(*names) is None:
            return default
        return self.as_language(self.text(*names), names[0])

    def as_language(self, text: str, name: str) -> str:
        """FLORES-200 code of the language that `text`, from field `name`, means. Raises DataError."""
        try:
            return language(text).code
        except LanguageError as error:
            raise self.error(name, error.message, hint=error.hint) from error

    def _text(self, value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise self.error(name, f"must be a text, found {shown(value)}")
        if not value.strip():
            raise self.error(name, "is empty")
        return value.strip()


class Rows(Protocol):
    """The rows of one file."""

    @property
    def files(self) -> Sequence[Path]:
        """What is read: an index made of it is good as long as size and time of change of these stay."""

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        """Every row in its order, with constant memory; a DataError where a row can't be read but later ones can.

        Raises:
            DataError: the file can't be read, or not from here on.
        """

    def read(self, place: Place) -> Row:
        """The row at a place that `scan` gave. Raises DataError: the file has changed."""


class FileBytes:
    """Bytes from anywhere in a file, which is opened at the first question and may be asked by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def at(self, place: Place) -> bytes:
        """The bytes of a place, fewer where the file ends. Raises DataError: the file can't be read."""
        with self._lock:
            if self._descriptor is None:
                with opened(self.path) as file:
                    self._descriptor = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._descriptor)
        try:
            return os.pread(self._descriptor, place.size, place.offset)
        except OSError as error:
            raise DataError(f"{self.path} can't be read: {error.strerror or error}", hint="Check its disk.") from error


def opened(path: Path) -> Any:
    """The file, open for reading bytes. Raises DataError."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", hint=check_path(path)) from error
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error.strerror or error}", hint="Check its permissions and its disk."
        ) from error


def _lines_before(path: Path, offset: int) -> int:
    lines, left = 0, offset
    with opened(path) as file:
        while left > 0 and (data := file.read(min(CHUNK, left))):
            lines += data.count(b"\n")
            left -= len(data)
    return lines


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
