"""Which scripts the letters of a text are of, by their names in Unicode, and what a language's script is made of."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

_NAMED = {
    "ADLAM": "Adlm",
    "ARABIC": "Arab",
    "ARMENIAN": "Armn",
    "BENGALI": "Beng",
    "BOPOMOFO": "Bopo",
    "CHAKMA": "Cakm",
    "CHEROKEE": "Cher",
    "CJK": "Hani",
    "COPTIC": "Copt",
    "CYRILLIC": "Cyrl",
    "DEVANAGARI": "Deva",
    "ETHIOPIC": "Ethi",
    "GEORGIAN": "Geor",
    "GREEK": "Grek",
    "GUJARATI": "Gujr",
    "GURMUKHI": "Guru",
    "HANGUL": "Hang",
    "HANIFI": "Rohg",
    "HEBREW": "Hebr",
    "HIRAGANA": "Hira",
    "IDEOGRAPHIC": "Hani",
    "JAVANESE": "Java",
    "KANNADA": "Knda",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
    "KHMER": "Khmr",
    "LAO": "Laoo",
    "LATIN": "Latn",
    "MALAYALAM": "Mlym",
    "MEETEI": "Mtei",
    "MONGOLIAN": "Mong",
    "MYANMAR": "Mymr",
    "NKO": "Nkoo",
    "OL": "Olck",
    "ORIYA": "Orya",
    "SINHALA": "Sinh",
    "SYRIAC": "Syrc",
    "TAMIL": "Taml",
    "TELUGU": "Telu",
    "THAANA": "Thaa",
    "THAI": "Thai",
    "TIBETAN": "Tibt",
    "TIFINAGH": "Tfng",
    "VAI": "Vaii",
    "YI": "Yiii",
}
"""First word of a letter's name -> its script in ISO 15924."""

_MADE_OF = {
    "Hang": ("Hang", "Hani"),
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
}
"""ISO 15924's mixtures, and Hangul, which has Han letters in between -> the scripts of their letters."""

_NEVER_WITHOUT = {"Hang": ("Hang",), "Jpan": ("Hira", "Kana"), "Kore": ("Hang",)}
"""Mixtures -> the scripts of which every longer text has letters."""

_GB2312_RARE = b"\xd8"
"""GB 2312's second level starts here: rare characters and radicals, not only simplified ones."""

_BIG5_RARE = b"\xc9"
"""Big5's second level starts here."""

_IN_BOTH = frozenset("着酶傈墒酞")
"""Common characters of GB 2312 that Big5 lacks and that are written in traditional texts all the same."""

_JOINS = frozenset("'’-_.")
"""Between two letters or digits these don't end a word; before a space they do."""


@cache
def script_of(character: str) -> str | None:
    """ISO 15924 code of a letter's script; None: no letter, or one of no script ("ª", "ʰ")."""
    for plain in unicodedata.normalize("NFKC", character):
        if unicodedata.category(plain).startswith("L"):
            return _NAMED.get(unicodedata.name(plain, "").split(" ")[0])
    return None


def scripts_of(text: str) -> Counter[str]:
    """Scripts -> letters of them in a text. Vowel signs and other marks aren't letters."""
    return Counter(script for script in map(script_of, text) if script is not None)


def made_of(script: str) -> tuple[str, ...]:
    """The scripts of the letters that texts of `script` have: Jpan has those of Hani, Hira and Kana."""
    return _MADE_OF.get(script, (script,))


def never_without(script: str) -> tuple[str, ...]:
    """Scripts of which a longer text of `script` has a letter at least; empty where that isn't certain."""
    return _NEVER_WITHOUT.get(script, ())


def variants(text: str) -> tuple[int, int]:
    """How many characters of a text are in simplified writing only, and how many in traditional writing only."""
    found = Counter(map(_variant, text))
    return found["Hans"], found["Hant"]


def words_of(text: str) -> list[str]:
    """The words of a text, where Latin letters and those of other scripts are different words even without a space
    between them. Text without spaces is one word up to its next mark."""
    words: list[str] = []
    word, before = "", ""
    for character in unicodedata.normalize("NFC", text):
        kind = _kind(character)
        if kind in ("mark", "digit") and word:
            kind = before
        if word and (kind == before or (character in _JOINS and word[-1] not in _JOINS)):
            word += character
        else:
            words.append(word)
            word, before = (character, kind) if kind else ("", "")
    stripped = (one.rstrip("".join(_JOINS)) for one in [*words, word])
    return [one for one in stripped if one]


def letters(words: Iterable[str]) -> int:
    """Letters and marks, which vowels are in many scripts; no digits."""
    return sum(unicodedata.category(character)[0] in "LM" for word in words for character in word)


@cache
def _kind(character: str) -> str:
    """What a character is in a word; "" where it is in none."""
    category = unicodedata.category(character)[0]
    if category == "L":
        return "latin" if script_of(character) in ("Latn", None) else "other"
    return {"M": "mark", "N": "digit"}.get(category, "mark" if character in "\u200c\u200d" else "")


@cache
def _variant(character: str) -> str | None:
    """Hans or Hant for a common character that only one of them has, by what GB 2312 and Big5 encode; None otherwise.

    GB 2312 was made for simplified Chinese and Big5 for traditional, each with the characters that are in use. Of the
    common ones that only GB 2312 has all but five are changed by OpenCC's s2t, of those that only Big5 has nine in
    ten by its t2s; the others are rare.
    """
    if script_of(character) != "Hani" or character in _IN_BOTH:
        return None
    simplified, traditional = _encoded(character, "gb2312"), _encoded(character, "big5")
    if simplified and not traditional and simplified < _GB2312_RARE:
        return "Hans"
    if traditional and not simplified and traditional < _BIG5_RARE:
        return "Hant"
    return None


def _encoded(character: str, encoding: str) -> bytes:
    return character.encode(encoding, errors="ignore")
