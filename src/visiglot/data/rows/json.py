"""Rows of JSON files: lines, lists, and lists or objects of objects below a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visiglot.data.rows import base
from visiglot.data.rows.base import FileBytes, Place, Row, Where, opened, shown
from visiglot.errors import DataError

_DECODER = json.JSONDecoder()
_OF_NUMBERS = "0123456789+-.eE"
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Escapes that are half of a character each, as two of them should be one."""

_HINT = "Files of lines of JSON are named .jsonl, others .json; each row is an object, {...}."


@dataclass(frozen=True)
class JsonRows:
    """Objects in a JSON file: lines of JSON (.jsonl, .ndjson), a list, or a list or an object of objects.

    Args:
        path: the file.
        at: key of the list, or of the object, that holds the rows, where the file is an object; None: the file itself
            is the list, the lines, or the object. The rows of an object have its keys.
        lines: whether each line is a row; None: as the file's name says.
    """

    path: Path
    at: str | None = None
    lines: bool | None = None
    _bytes: FileBytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.lines is None:
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
            raise DataError(f"{where}: must be an object, found {shown(value)}")
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
        self._rows = 0
        self._last_line = 0

    def rows(self) -> Iterator[tuple[Place, Row | DataError]]:
        if self._peek() == "\xef":
            self._position += 3
        if self._at is None:
            if self._peek() not in ("[", "{"):
                raise self._no_json(f"must be a list or an object, found {self._peek()!r}")
            yield from self._items()
        else:
            yield from self._below(self._at)
        if self._peek():
            raise self._no_json("has something behind its end")

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
                self._rows = 0
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
        line = self._line_here()
        self._rows += 1
        where = Where(self._path, line, row=(key or self._rows) if line == self._last_line else None)
        self._last_line = line
        start = self._key_at if key else self._base + self._position
        value, text = self._value()
        place = Place(start, self._base + self._position - start)
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1"))
            except UnicodeDecodeError as error:
                return place, DataError(f"{where}: isn't UTF-8: {error}", hint="Save the file as UTF-8.")
        return place, _checked(value, text, where, key)

    def _value(self) -> tuple[Any, str]:
        """The value that begins here and its text, which is read on until it is whole."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self._broken(f"is no JSON: {error.msg}", error.pos) from error
            except (RecursionError, ValueError) as error:  # too deep, or a number of thousands of digits
                raise self._broken(f"is no JSON that is read: {error}") from error
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
        data = self._file.read(max(base.CHUNK, len(rest)))
        self._ended = not data
        self._base += self._position
        self._text, self._position, self._counted = rest + data.decode("latin-1"), 0, 0
        return bool(data)

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line

    def _no_json(self, problem: str) -> DataError:
        """The file may be something else than its name says."""
        error = self._broken(problem)
        if self._base == 0 and self._text.startswith("\x1f\x8b"):
            error.hint = "It is packed: gunzip it first."
        elif self._base == 0 and self._text.startswith(("\xff\xfe", "\xfe\xff")):
            error.hint = "It is UTF-16: save it as UTF-8."
        elif "behind" in problem and self._peek() == "{":
            error.hint = "If each line is a row, name the file .jsonl."
        return error

    def _broken(self, problem: str, position: int | None = None) -> DataError:
        self._position = self._position if position is None else position
        return DataError(
            f"{self._path}, line {self._line_here()}: {problem}",
            hint="Copy or fetch the file again; it may be cut short.",
        )


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
    except (RecursionError, ValueError) as error:
        return DataError(f"{where}: is no JSON: {error}", hint=_HINT)
    return _checked(value, data.decode("latin-1"), where, "")


def _checked(value: Any, text: str, where: Where, key: str) -> Row | DataError:
    """The row of a value, which must be an object with whole characters; `text` is what it was read from."""
    if not isinstance(value, dict):
        return DataError(f"{where}: must be an object, found {shown(value)}", hint=_HINT)
    if "\\u" in text and _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            return DataError(
                f"{where}: has half a character, {error.object[error.start : error.end]!a}",
                hint="The text was cut amid a character (an emoji, say): mend or remove the row.",
            )
    return Row(value, where, key, scanned=True)
