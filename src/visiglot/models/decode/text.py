"""Token ids to text, whole characters only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

REPLACEMENT = "\ufffd"
"""What tokenizers write for bytes that are no whole character (yet)."""


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
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = ""

    def push(self, ids: Iterable[int]) -> str:
        """The text that `ids` make certain, often empty."""
        self._ids.extend(ids)
        return self._give(_decode(self._tokenizer, self._ids).rstrip(REPLACEMENT).strip())

    def flush(self) -> str:
        """What is left at the end; bytes that make no whole character come as U+FFFD."""
        return self._give(decode_text(self._tokenizer, self._ids))

    def _give(self, text: str) -> str:
        if not text.startswith(self._given):
            text = self._given + text[len(self._given) :]
        piece = text[len(self._given) :]
        self._given = text
        return piece
