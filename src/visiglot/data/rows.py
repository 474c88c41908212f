"""Rows of data files of any size: gone through once as a stream, then read one by one where they lie.

A `Row` knows its file and line, so that whatever is wrong with a field is said with its place.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from visiglot.errors import DataError, LanguageError
from visiglot.languages import language

CHUNK = 2**22
"""Bytes that a scan reads at a time."""

_DECODER = json.JSONDecoder()
_OF_NUMBERS = "0123456789+-.eE"


class Place(NamedTuple):
    """Where a row lies in its file: first byte and number of bytes, or what a kind of file counts instead."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Where:
    """A row's place as messages say it: "FILE, line N".

    Args:
        path: the file.
        number: of the line, or whatever `unit` says; None: the lines before `offset` are counted when it is said.
        offset: the row's first byte.
    """

    path: Path
    number: int | None = None
    unit: str = "line"
    offset: int = 0

    def __str__(self) -> str:
        number = _lines_before(self.path, self.offset) + 1 if self.number is None else self.number
        return f"{self.path}, {self.unit} {number}"


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
        return next((value for name in names if (value := self.values.get(name)) is not None), None)

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
            raise self.error(names[0], f"must be a list with something in it, found {_shown(values)}")
        return tuple(self._text(value, f"{names[0]}[{n}]") for n, value in enumerate(values))

    def integer(self, *names: str) -> int:
        """A whole number, also one written as text. Raises DataError."""
        value = self.need(*names)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise self.error(names[0], f"must be a whole number, found {_shown(value)}")
        try:
            return int(value)
        except ValueError:
            raise self.error(names[0], f"must be a whole number, found {_shown(value)}") from None

    def name(self, *names: str) -> str:
        """A text or a whole number, as text: what ids are. Raises DataError."""
        value = self.need(*names)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self._text(value, names[0])

    def rows(self, *names: str) -> list[Row]:
        """A list of objects, not empty, each as a row of its own. Raises DataError."""
        values = self.need(*names)
        if not isinstance(values, list) or not values:
            raise self.error(names[0], f"must be a list with something in it, found {_shown(values)}")
        found = []
        for n, value in enumerate(values):
            if not isinstance(value, Mapping):
                raise self.error(f"{names[0]}[{n}]", f"must be an object, found {_shown(value)}")
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
            raise self.error(name, f"must be a text, found {_shown(value)}")
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


@dataclass(frozen=True)
class JsonRows:
    """Objects in a JSON file: lines of JSON (.jsonl, .ndjson), a list, or a list or an object of objects.

    Args:
        path: the file.
        at: key of the list, or of the object, that holds the rows, where the file is an object; None: the file itself
            is the list, the lines, or the object. The rows of an object have its keys.
    """

    path: Path
    at: str | None = None
    lines: bool = field(init=False)
    _bytes: FileBytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", self.path.suffix in (".jsonl", ".ndjson"))
        object.__setattr__(self, "_bytes", FileBytes(self.path))

    @property
    def files(self) -> Sequence[Path]:
        return (self.path,)

    def scan(self) -> Iterator[tuple[Place, Row | DataError]]:
        with opened(self.path) as file:
            yield from self._lines(file) if self.lines else _Scanner(file, self.path, self.at).rows()

    def read(self, place: Place) -> Row:
        try:
            key, value = _entry(self._bytes.at(place))
        except ValueError as error:
            raise DataError(
                f"{self.path} has changed while it was read: there is no row at byte {place.offset:,}",
                hint="Let it be while it is in use, and start again.",
            ) from error
        where = Where(self.path, offset=place.offset)
        if not isinstance(value, dict):
            raise DataError(f"{where}: must be an object, found {_shown(value)}")
        return Row(value, where, key)

    def _lines(self, file: Any) -> Iterator[tuple[Place, Row | DataError]]:
        offset = 0
        for number, line in enumerate(file, start=1):
            if line.strip():
                row = _row(line.removeprefix(b"\xef\xbb\xbf"), Where(self.path, number))
                yield Place(offset, len(line)), row
            offset += len(line)


class _Scanner:
    """Goes through a JSON document item by item.

    Bytes are looked at as Latin-1, in which one byte is one character, so that places are bytes; rows with other
    letters than ASCII are then read anew as UTF-8.
    """

    def __init__(self, file: Any, path: Path, at: str | None) -> None:
        self._file = file
        self._path = path
        self._at = at
        self._text = ""
        self._base = 0
        self._position = 0
        self._line = 1
        self._counted = 0
        self._ended = False

    def rows(self) -> Iterator[tuple[Place, Row | DataError]]:
        if self._peek() == "\xef":
            self._position += 3
        if self._at is None:
            if self._peek() not in ("[", "{"):
                raise self._broken(f"must be a list or an object, found {self._peek()!r}")
            yield from self._items()
        else:
            yield from self._below(self._at)
        if self._peek():
            raise self._broken("has something behind its end")

    def _below(self, at: str) -> Iterator[tuple[Place, Row | DataError]]:
        """The items under one key of the document; whatever stands under others is gone over."""
        if self._peek() != "{":
            raise self._broken(f"must be an object with {at!r} in it, found {self._peek()!r}")
        keys = []
        for key in self._members():
            keys.append(key)
            if self._peek() not in ("[", "{"):
                self._value()
            elif key == at:
                yield from self._items()
            else:
                for _ in self._items():
                    pass
        if at not in keys:
            raise DataError(f"{self._path}: has no {at!r}; it has {', '.join(keys) or 'nothing'}")

    def _items(self) -> Iterator[tuple[Place, Row | DataError]]:
        if self._peek() == "{":
            for key in self._members():
                yield self._item(key)
            return
        self._position += 1
        if self._peek() == "]":
            self._position += 1
            return
        while True:
            yield self._item("")
            mark = self._peek()
            self._position += 1
            if mark == "]":
                return
            if mark != ",":
                self._position -= 1
                raise self._broken("has no comma or end of its list here")

    def _members(self) -> Iterator[str]:
        """The keys of an object; each time, what reads its value must have been called before the next."""
        self._position += 1
        if self._peek() == "}":
            self._position += 1
            return
        while True:
            self._peek()
            self._key_at = self._base + self._position
            key, text = self._value()
            if not isinstance(key, str) or self._peek() != ":":
                raise self._broken("has no key of its object here")
            self._position += 1
            yield key if text.isascii() else str(json.loads(text.encode("latin-1")))
            mark = self._peek()
            self._position += 1
            if mark == "}":
                return
            if mark != ",":
                self._position -= 1
                raise self._broken("has no comma or end of its object here")

    def _item(self, key: str) -> tuple[Place, Row | DataError]:
        self._peek()
        where = Where(self._path, self._line_here())
        start = self._key_at if key else self._base + self._position
        value, text = self._value()
        place = Place(start, self._base + self._position - start)
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1"))
            except UnicodeDecodeError as error:
                return place, DataError(f"{where}: isn't UTF-8: {error}", hint="Save the file as UTF-8.")
        if not isinstance(value, dict):
            return place, DataError(f"{where}: must be an object, found {_shown(value)}")
        return place, Row(value, where, key, scanned=True)

    def _value(self) -> tuple[Any, str]:
        """The value that begins here and its text, which is read on until it is whole."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self._broken(f"is no JSON: {error.msg}", error.pos) from error
            if isinstance(value, int | float) and not self._text[end:].lstrip(_OF_NUMBERS) and self._more():
                continue  # the number may go on
            text = self._text[self._position : end]
            self._position = end
            return value, text

    def _peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            while self._position < len(self._text) and self._text[self._position] in " \t\r\n":
                self._position += 1
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on, twice as much as is still needed so that long values aren't gone over too often."""
        if self._ended:
            return False
        self._line_here()
        rest = self._text[self._position :]
        data = self._file.read(max(CHUNK, len(rest)))
        self._ended = not data
        self._base += self._position
        self._text, self._position, self._counted = rest + data.decode("latin-1"), 0, 0
        return bool(data)

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line

    def _broken(self, problem: str, position: int | None = None) -> DataError:
        self._position = self._position if position is None else position
        return DataError(
            f"{self._path}, line {self._line_here()}: {problem}",
            hint="Copy or fetch the file again; it may be cut short.",
        )


def opened(path: Path) -> Any:
    """The file, open for reading bytes. Raises DataError."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", hint="Check the path of the source.") from error
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error.strerror or error}", hint="Check its permissions and its disk."
        ) from error


def _entry(data: bytes) -> tuple[str, Any]:
    """Key and value of `"key": value`, or "" and the value. Raises ValueError."""
    text = data.decode("utf-8-sig")
    if not text.startswith('"'):
        return "", json.loads(text)
    key, end = _DECODER.raw_decode(text)
    return key, json.loads(text[end:].lstrip().removeprefix(":"))


def _row(data: bytes, where: Where) -> Row | DataError:
    try:
        value = json.loads(data)
    except UnicodeDecodeError as error:
        return DataError(f"{where}: isn't UTF-8: {error}", hint="Save the file as UTF-8.")
    except ValueError as error:
        return DataError(f"{where}: is no JSON: {error}")
    if not isinstance(value, dict):
        return DataError(f"{where}: must be an object, found {_shown(value)}")
    return Row(value, where, scanned=True)


def _lines_before(path: Path, offset: int) -> int:
    lines, left = 0, offset
    with opened(path) as file:
        while left > 0 and (data := file.read(min(CHUNK, left))):
            lines += data.count(b"\n")
            left -= len(data)
    return lines


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
