"""Which texts say left or right, so that the pictures beside them aren't mirrored. The words are in directions.toml."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib import resources

from visiglot.languages import ENGLISH
from visiglot.types import Example


def says_side(example: Example) -> bool:
    """Whether mirroring the example's pictures might make one of its turns wrong.

    True where a turn has a word for left or right of the example's language or of English, and where nobody has written
    down the words of that language.
    """
    words = _words()
    if example.language not in words:
        return True
    texts = [fold(message.text) for message in example.messages]
    return any(words[code].search(text) for code in {example.language, ENGLISH} for text in texts)


def known_languages() -> tuple[str, ...]:
    """FLORES-200 codes, sorted, of the languages whose words are written down."""
    return tuple(sorted(_words()))


def fold(text: str) -> str:
    """Without case and diacritics. Vowel signs of Indic scripts have combining class 0 and stay."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


@cache
def _words() -> dict[str, re.Pattern[str]]:
    """Language -> what is searched for in its folded texts."""
    text = resources.files("visiglot.train").joinpath("directions.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Sequence[str]]] = tomllib.loads(text)
    starts = {"begins": r"(?<!\w)", "anywhere": ""}
    return {
        code: re.compile(f"{start}(?:{'|'.join(re.escape(fold(stem)) for stem in stems)})")
        for kind, start in starts.items()
        for code, stems in table[kind].items()
    }
