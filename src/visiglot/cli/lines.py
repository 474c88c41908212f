"""Rows that come on stdin, a JSON object a line: image or images (paths or data URLs), id, prompt, language(s)."""

from __future__ import annotations

import json
import reprlib
import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from visiglot.cli.console import say
from visiglot.cli.pictures import is_data_url
from visiglot.errors import DataError, nearest

STDIN = "-"
"""The argument that stands for rows on stdin."""

MAX_LINE = 256 * 2**20
"""Bytes of a line; a few of the largest pictures that are read, as data URLs."""

_BLOCK = 2**16


@dataclass(frozen=True, slots=True)
class LineRow:
    """What a line asks. None where it doesn't say.

    Args:
        number: of the line, from 1.
        images: paths or data URLs, shown in one prompt.
        id: what the user calls the row.
        languages: as the user wrote them; `one_language` when they were given as `language`.
    """

    number: int
    images: tuple[str, ...]
    id: str | None
    prompt: str | None
    languages: tuple[str, ...] | None
    one_language: bool


class LineError(DataError):
    """A line that can't be asked. `id` and `image` are what it calls itself and its picture, where that can be read."""

    def __init__(self, number: int, problem: str, *, hint: str | None, id: str | None = None, image: str = "") -> None:
        super().__init__(f"line {number}: {problem}", hint=hint)
        self.id = id
        self.image = image


class Lines:
    """The lines of a stream as they come, so that one can be answered before the next is written.

    Args:
        stream: of bytes. Where it has a file descriptor, nothing else may read from that.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._raw: Any = getattr(stream, "raw", stream)
        self._buffer = bytearray()
        self._searched = 0  # bytes at the beginning of the buffer that hold no line end
        self._too_long = False  # a part of the line that comes is forgotten
        self._number = 0
        self.ended = False

    def burst(self) -> Iterator[LineRow | LineError]:
        """What the lines that can be had at once ask, blank ones left out; waits for the first."""
        given = False
        while not given or self._is_ready():
            line = self._take()
            if line is None:
                return
            self._number += 1
            if isinstance(line, LineError) or line.strip():
                given = True
                yield line if isinstance(line, LineError) else self._parsed(line)

    def _parsed(self, line: bytes) -> LineRow | LineError:
        try:
            return parse_line(self._number, line)
        except LineError as error:
            return error

    def _take(self) -> bytes | LineError | None:
        """The next line; None at the end."""
        while (end := self._end_of_line()) < 0 and not self.ended:
            self._fill()
        line = bytes(self._buffer[: end + 1 if end >= 0 else None])
        too_long, self._too_long = self._too_long or len(line) > MAX_LINE, False
        self._forget(len(line))
        if too_long:
            hint = "Give a picture's path, not the picture itself."
            return LineError(self._number + 1, f"longer than {MAX_LINE:,} bytes", hint=hint)
        return line or None

    def _is_ready(self) -> bool:
        """Whether the next line, or the end, can be had without waiting."""
        while not self.ended and self._end_of_line() < 0 and self._has_bytes():
            self._fill()
        return self.ended or self._end_of_line() >= 0

    def _end_of_line(self) -> int:
        found = self._buffer.find(b"\n", self._searched)
        if found < 0:
            self._searched = len(self._buffer)
        return found

    def _has_bytes(self) -> bool:
        try:
            return bool(select.select([self._raw.fileno()], [], [], 0)[0])
        except (OSError, ValueError):  # no file, or none that can be waited for: it is in memory
            return True

    def _fill(self) -> None:
        """Read what is there, waiting for the first byte. Of a line that is too long nothing is kept."""
        block = self._raw.read(_BLOCK)
        while block is None:  # whoever opened it doesn't let reads wait
            select.select([self._raw.fileno()], [], [])
            block = self._raw.read(_BLOCK)
        self._buffer += block
        self.ended = not block
        if len(self._buffer) > MAX_LINE and self._end_of_line() < 0:
            self._too_long = True
            self._forget(len(self._buffer))

    def _forget(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0


def stdin_lines() -> Lines:
    """The lines of stdin; says how to end them where a person types them."""
    if sys.stdin.isatty():
        say('reading rows, a line such as {"image": "photo.jpg"} each; Ctrl-D ends them')
    return Lines(sys.stdin.buffer)


def parse_line(number: int, line: bytes) -> LineRow:
    """What a line asks; the pictures aren't opened.

    Raises:
        LineError: no JSON object, an unknown key, a value of another kind than is expected, or no picture.
    """
    try:
        values = json.loads(line)
    except ValueError as error:
        raise LineError(number, f"no JSON: {error}", hint='Write {"image": "photo.jpg"}, say.') from error
    if not isinstance(values, dict):
        raise LineError(number, f"a JSON object is expected, found {type(values).__name__}", hint=_hint())
    values = {key: value for key, value in values.items() if value is not None}
    own_id, image = values.get("id"), values.get("image", "")
    problem = next(_problems(values), None)
    if problem is not None:
        said = own_id if isinstance(own_id, str) else None
        named = image if isinstance(image, str) and not is_data_url(image) else ""
        raise LineError(number, problem, hint=_hint(), id=said, image=named)
    language, languages = values.get("language"), values.get("languages")
    return LineRow(
        number,
        (image,) if image else tuple(values["images"]),
        own_id,
        values.get("prompt"),
        (language,) if language is not None else None if languages is None else tuple(languages),
        language is not None,
    )


_TEXTS = ("id", "image", "prompt", "language")
_LISTS = ("images", "languages")


def _problems(values: dict[str, Any]) -> Iterator[str]:
    for key in values:
        if key not in (*_TEXTS, *_LISTS):
            near = nearest(key, (*_TEXTS, *_LISTS), count=1)
            yield f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else "")
    for key in _TEXTS:
        if key in values and not (isinstance(values[key], str) and values[key]):
            yield f"{key}: a text is expected, found {reprlib.repr(values[key])}"
    for key in _LISTS:
        texts = values.get(key, [""])
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            yield f"{key}: a list of texts is expected, found {reprlib.repr(texts)}"
    for one, several in (("image", "images"), ("language", "languages")):
        if one in values and several in values:
            yield f"{one} and {several} are both there"
    if "image" not in values and "images" not in values:
        yield "no image"


def _hint() -> str:
    return "A row has image or images, and where it likes id, prompt, and language or languages."
