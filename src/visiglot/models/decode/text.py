"""Token ids to text, whole characters only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

REPLACEMENT = "\ufffd"
"""What tokenizers write for bytes that are no whole character (yet)."""


class Part(Protocol):
    """Which part of a text is shown: where it begins and ends. What it says of a text holds however that goes on."""

    def __call__(self, text: str, *, last: bool) -> tuple[int, int]: ...


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of `ids` without special tokens and without white space at its ends.

    Spaces inside aren't tidied: that would change text that has been streamed already.
    """
    return _decode(tokenizer, ids).strip()


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


class TextStream:
    """Turns tokens that come one by one into pieces of text; the pieces joined are `decode_text` of all ids.

    A character may be spread over several tokens (byte-level BPE, byte fallback): nothing of it is given out before
    it is whole. White space waits for what follows it. All ids are decoded each time, because what a token adds may
    depend on those before it. One thing can't be streamed as it ends: a byte that fits nowhere makes its whole run of
    bytes malformed, characters before it too; those stay as they were given.

    Args:
        stop: texts before the first of which the text ends, wherever tokens begin and end. What may be the beginning
            of one waits for what follows. White space before the text counts as nothing, that behind it does count.
        part: of the text that is given out, and that `stop` is looked for in; default: all of it.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = (), part: Part | None = None) -> None:
        assert all(stop), "an empty text would stop everything"
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._part = part
        self._begin = 0
        self._ids: list[int] = []
        self._given = ""
        self._seen = 0
        self.stopped = False
        """Whether one of `stop` has come: there is no more text then."""

    @property
    def seen(self) -> int:
        """Characters that the ids make, what waits included."""
        return self._seen

    @property
    def begin(self) -> int:
        """Where among those characters what is given out begins."""
        return self._begin

    @property
    def given(self) -> int:
        """Where it ends, as far as it was given out."""
        return self._begin + len(self._given)

    def push(self, ids: Iterable[int]) -> str:
        """The text that `ids` make certain, often empty."""
        self._ids.extend(ids)
        return self._next(_decode(self._tokenizer, self._ids).rstrip(REPLACEMENT), last=False)

    def flush(self) -> str:
        """What is left at the end; bytes that make no whole character come as U+FFFD."""
        return self._next(_decode(self._tokenizer, self._ids), last=True)

    def _next(self, text: str, *, last: bool) -> str:
        if self.stopped:
            return ""
        text = text.lstrip()
        self._seen = len(text)
        if self._part is not None:
            self._begin, end = self._part(text, last=last)
            text = text[self._begin : end]
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            text = text[: min(found)]
        elif not last:
            text = text[: len(text) - self._beginning(text)]
        return self._give(text.rstrip())

    def _beginning(self, text: str) -> int:
        """Length of the longest end of `text` that one of `stop` begins with."""
        longest = max((len(stop) for stop in self._stop), default=0)
        sizes = range(min(longest - 1, len(text)), 0, -1)
        return next((size for size in sizes if any(stop.startswith(text[-size:]) for stop in self._stop)), 0)

    def _give(self, text: str) -> str:
        if not text.startswith(self._given):
            text = self._given + text[len(self._given) :]
        piece = text[len(self._given) :]
        self._given = text
        return piece
