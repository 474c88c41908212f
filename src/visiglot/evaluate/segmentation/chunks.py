"""Each chunk of a language cut once: words come back far more often than they are new."""

from __future__ import annotations

from collections.abc import Callable

MOST = 2**16
"""Chunks that are kept, at most."""

LONGEST = 32
"""Characters of the longest chunk that is kept. Longer ones, as sentences in scripts without spaces, hardly return."""


class Chunks(dict[str, list[str]]):
    """What stands between two spaces -> its words, which nobody may change.

    Whoever uses it must know that nothing is cut otherwise for what stands beyond those spaces.

    Args:
        cut: chunk -> its words.
    """

    def __init__(self, cut: Callable[[str], list[str]]) -> None:
        super().__init__()
        self._cut = cut

    def __missing__(self, chunk: str) -> list[str]:
        words = self._cut(chunk)
        if len(chunk) <= LONGEST and len(self) < MOST:
            self[chunk] = words
        return words
