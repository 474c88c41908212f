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

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from visiglot.errors import MissingExtraError
from visiglot.evaluate.segmentation import DEFAULT, SEGMENTATIONS, Segmentation
from visiglot.evaluate.segmentation.chunks import Chunks

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

    Between spaces nothing depends on what stands beyond them, so each chunk is cut once. One thing depends on whether
    there is a space at all: a clitic alone, as "'s", is a word after a space and none where a text begins.

    Raises:
        MissingExtraError: the module `regex` isn't installed.
    """
    words_of = Chunks(lambda chunk: cut(f" {chunk}", language)).__getitem__
    found: list[list[str]] = []
    for text in texts:
        chunks = text.split(" ")
        words = list(chain.from_iterable(map(words_of, chunks))) if len(chunks) > 1 else cut(text, language)
        if words and "'" in (words[0][0], words[:2][-1][0]):
            words = cut(text, language)
        found.append(words)
    return found


def cut(text: str, language: str, *, shortcut: bool = True) -> list[str]:
    """The words of one text.

    Args:
        shortcut: take the faster expression where it finds the same words.
    """
    if shortcut and (found := _cut_simple(text, language)) is not None:
        return found
    folded = fold(text, language)
    if language == "eng_Latn":
        folded = _contractions().sub(" ", folded)
    elif language in ELIDING:
        folded = folded.replace("'", "' ")
    words: list[str] = _words().findall(folded)
    return words


def _cut_simple(text: str, language: str) -> list[str] | None:
    """The words of a text of plain characters; nothing if there is another one in it, or a word that is two."""
    simple = _simple()
    folded = text.lower().replace("\u0e33", "\u0e4d\u0e32")  # the one character here that NFKC parts
    if simple.text.fullmatch(folded) is None or not unicodedata.is_normalized("NFKC", folded):
        return None
    if simple.characters.fullmatch(folded):
        return list(simple.apart.sub("", folded))
    if language in DOTLESS or (language == "eng_Latn" and simple.two_words.search(folded)):
        return None
    return simple.word.findall(folded)


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


class _Simple(NamedTuple):
    """Expressions for texts without special signs.

    Attributes:
        text: what consists of a to z, digits, Han, kana and Thai, with signs that join nothing.
        characters: what consists of Han and kana, with such signs.
        apart: those signs.
        word: a word of what `text` matches.
        two_words: the English ones without an apostrophe.
    """

    text: re.Pattern[str]
    characters: re.Pattern[str]
    apart: re.Pattern[str]
    word: re.Pattern[str]
    two_words: re.Pattern[str]


@cache
def _simple() -> _Simple:
    """Python's own `re` is faster than `regex`, but knows no scripts: the characters are listed, by no means all.

    Left out are signs that join (the full stop, apostrophes, a comma or colon after a digit), and symbols.
    """
    character = "\u3005\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4db5\u4e00-\u9fcc"
    consonant, letter, mark = "\u0e01-\u0e2e", "\u0e01-\u0e30\u0e32\u0e40-\u0e46", "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    killed = f"(?:[{consonant}][\u0e34\u0e38]?\u0e4c)*+"
    thai = f"[\u0e40-\u0e44]?+[{consonant}][{mark}]*+[\u0e30\u0e32\u0e45]*+{killed}"
    apart = " ,:!?\u3001\u3002\u300c-\u300f\u30fb"
    return _Simple(
        text=re.compile(f"(?:[{character}{letter}{mark}{apart}]++|[a-z0-9]++(?![{mark}]*[,:]))*+"),
        characters=re.compile(f"[{character}{apart}]*+"),
        apart=re.compile(f"[{apart}]++"),
        word=re.compile(f"[{character}][{mark}]*+|[a-z0-9][a-z0-9{mark}]*+|{thai}|[{letter}][{mark}]*+"),
        two_words=re.compile("cannot|gimme|lemme|gonna|wanna|gotta"),
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
