"""`visiglot`, the default: words in every script, decided by the script of each run of characters.

Where a script puts spaces between words, a word is what stands between spaces and punctuation. Where it doesn't, the
unit is the smallest that spelling alone determines, so that no dictionary, and no version of one, changes a score:

    Han, kana, bopomofo, Yi       the character, as captions in Chinese are usually compared
    Tibetan                       the syllable: what stands between two tshegs
    Burmese, Shan                 the syllable: a consonant, what is stacked on it, vowels, and final consonants
    Khmer, Javanese, Balinese...  the orthographic syllable: a consonant, what is stacked on it, and vowels
    Thai, Lao                     the character cluster: a consonant with the vowels before, on and after it

The text decides and not the language, since captions mix: a Japanese one has "iPhone" in it, an English one "東京". The
language adds what its own spelling needs: dotless i, contractions, elision.

Before that, texts become NFKC (width and presentation forms, ligatures and raised figures are no other words), lower
case, digits of every script 0 to 9, apostrophes and hyphens one kind each; invisible format characters and the tatweel
go. Punctuation is parted from words and dropped, by Unicode's categories, but for the four signs that are read as
words (%, ‰, &, §). Symbols, currencies and emoji are words; an emoji of several characters is one.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from visiglot.errors import MissingExtraError
from visiglot.evaluate.segmentation import DEFAULT, SEGMENTATIONS, Segmentation

CHARACTERS = ("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Nushu", "Tangut")
"""Scripts in which a character is a unit; the mark of long vowels, which is of no script, with them."""

VIRAMAS = {
    "Khmer": "\u17d2",
    "Javanese": "\ua9c0",
    "Balinese": "\u1b44",
    "Tai_Tham": "\u1a60",
    "Ahom": "\U0001172b",
    "Tai_Le": "",
    "New_Tai_Lue": "",
    "Tai_Viet": "",
}
"""Scripts without spaces, and the sign by which one consonant is stacked under another."""

DOTLESS = frozenset({"tur_Latn", "azj_Latn", "crh_Latn"})
"""Languages in which I is the capital of ı, and İ of i."""

ELIDING = frozenset({"fra_Latn", "ita_Latn", "cat_Latn", "oci_Latn", "fur_Latn", "lij_Latn", "lmo_Latn", "vec_Latn"})
"""Languages in which an apostrophe ends a word, as in "l'eau"."""

_ALIKE = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u00b4\u0060\u2032\u055a\u05f3"), "'"),
    **dict.fromkeys(map(ord, "\u2010\u2011\u058a\u05be\u1400\u1806"), "-"),
    ord("\u05f4"): '"',
}
_INVISIBLE = dict.fromkeys((0x00AD, 0x034F, 0x0640, 0x061C, 0x180E, 0x200C, 0x200E, 0x200F, *range(0x2060, 0x2065)))
_VARIANTS = dict.fromkeys((*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), 0xFEFF))


@cache
def _regex() -> Any:
    """The module with Unicode's scripts.

    Raises:
        MissingExtraError: it isn't installed.
    """
    try:
        import regex
    except ImportError as error:
        raise MissingExtraError("regex", "eval") from error
    return regex


def signature() -> str:
    """The name and the versions of what knows the characters."""
    return f"visiglot|regex:{_regex().__version__}|unicode:{unicodedata.unidata_version}"


def tokenise(texts: Sequence[str], language: str) -> list[list[str]]:
    """The words of each text.

    Raises:
        MissingExtraError: the module `regex` isn't installed.
    """
    find = _words().findall
    parts = _contractions().sub if language == "eng_Latn" else None
    found: list[list[str]] = []
    for text in texts:
        folded = fold(text, language)
        if parts is not None:
            folded = parts(" ", folded)
        elif language in ELIDING:
            folded = folded.replace("'", "' ")
        found.append(find(folded))
    return found


def fold(text: str, language: str) -> str:
    """The text with differences removed that make no other word: width, case, digits, apostrophes, format characters.

    A joiner stays only between two emoji.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_ALIKE)).translate(_table())
        if "\u200d" in text:
            text = _joiners().sub("", text)
    elif "`" in text:
        text = text.replace("`", "'")
    if language in DOTLESS:
        text = text.replace("I", "ı").replace("İ", "i").replace("I\u0307", "i")
    return text.lower()


@cache
def _table() -> dict[int, str | None]:
    """Code points that are written otherwise after NFKC."""
    digits = {
        code: str(unicodedata.decimal(chr(code)))
        for code in range(0x80, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) == "Nd"
    }
    return {**digits, **_ALIKE, **_INVISIBLE, **_VARIANTS}


@cache
def _joiners() -> Any:
    return _regex().compile(r"(?<![\p{Extended_Pictographic}\p{EMod}])\u200d|\u200d(?!\p{Extended_Pictographic})")


@cache
def _contractions() -> Any:
    """Places in English where one written word is two, as in the Penn Treebank."""
    return _regex().compile(
        r"(?<=[a-z])(?=n't\b)|(?<=[a-z0-9])(?='(?:s|d|m|ll|re|ve)\b)"
        r"|(?<=\bcan)(?=not\b)|(?<=\b(?:gim|lem))(?=me\b)|(?<=\b(?:gon|wan))(?=na\b)|(?<=\bgot)(?=ta\b)"
    )


@cache
def _words() -> Any:
    """The one expression that finds every word of a folded text."""
    characters = "".join(rf"\p{{{script}}}" for script in CHARACTERS) + "\u30fc"
    stacking = "".join(rf"\p{{{script}}}" for script in VIRAMAS)
    unspaced = rf"{characters}\p{{Thai}}\p{{Lao}}\p{{Myanmar}}{stacking}"
    inside = rf"[[\p{{L}}\p{{N}}]--[{unspaced}]]"
    word = rf"{inside}[{inside}\p{{M}}]*"
    burmese = r"[\p{Myanmar}&&\p{L}]"
    stacks = "|".join(
        rf"[\p{{{script}}}&&\p{{L}}](?:{virama}[\p{{{script}}}&&\p{{L}}]|\p{{M}})*"
        for script, virama in VIRAMAS.items()
        if virama
    )
    return _regex().compile(
        "|".join(
            (
                r"\p{Extended_Pictographic}\p{EMod}?(?:\u200d\p{Extended_Pictographic}\p{EMod}?)*|\p{RI}{2}",
                rf"[{characters}&&[\p{{L}}\p{{N}}]]\p{{M}}*",
                r"[\u0e40-\u0e44]?[\u0e01-\u0e2e]\p{M}*[\u0e30\u0e32\u0e45]*(?:[\u0e01-\u0e2e][\u0e34\u0e38]?\u0e4c)*",
                r"[\u0ec0-\u0ec4]?[\u0e81-\u0eae\u0ede\u0edf]\p{M}*[\u0eb0\u0eb2\u0ebd]?",
                rf"{burmese}(?:\u1039{burmese}|\p{{M}})*(?:{burmese}\u1037?\u103a(?:\u1039{burmese}|\p{{M}})*)*",
                stacks,
                rf"[{unspaced}&&[\p{{L}}\p{{N}}]]\p{{M}}*",
                r"(?<![\p{L}\p{N}])\p{L}(?:\.\p{L})+\b\.?(?![\p{L}\p{N}])",
                rf"{word}(?:(?:['_\-]|(?<=[0-9])[.,:](?=[0-9])|(?<=\p{{Hebrew}})\"(?=\p{{Hebrew}})){word})*",
                r"'(?:s|d|m|ll|re|ve)\b(?<=\s..?.?)",
                r"[%‰&§]|\p{S}",
            )
        ),
        _regex().VERSION1,
    )


SEGMENTATIONS.add(
    DEFAULT,
    Segmentation(
        name=DEFAULT,
        about="Words between spaces, and characters or syllables where a script has no spaces; punctuation is dropped.",
        tokenise=tokenise,
        signature=signature,
    ),
)
