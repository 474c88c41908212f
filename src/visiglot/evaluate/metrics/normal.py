"""The match that is right in every language: exact after a normalisation that each language has its own part in.

What is done to both sides, in this order:

1. Unicode's NFKC: full-width and presentation forms become the plain letters.
2. Signs without a width of their own go: soft hyphens, marks of direction, zero-width spaces. Joiners go in the Arabic
   script, where they are often left out; they stay in the scripts of India, where they are spelling.
3. Lower case as the language has it: dotted and dotless i in Turkish, Azerbaijani and Crimean Tatar; else Unicode's
   full case folding ("STRASSE" is "Straße", a final sigma is a sigma).
4. Marks that ordinary writing leaves out go: Arabic vowel signs and the stretching line, Hebrew points. Outside Arabic
   itself, Arabic yeh and kaf are the Persian ones.
5. Decimal digits of every script become 0 to 9. A stop or comma between two digits stays as it is: "3,5" is no "35",
   nor "3.5".
6. Other punctuation becomes a space, apostrophes inside words stay and are of one form, and so does Hebrew's mark of
   an abbreviation; stops between single letters go ("U.S.A." is "USA"). %, &, @ and # stay.
7. Articles go (`normal.toml`), unless nothing would be left.
8. White space: single spaces; none at all where the language is written without spaces.

Numbers in words are not turned into digits, accents are not removed, and nothing is stemmed.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources

from visiglot.errors import LanguageError
from visiglot.evaluate.metrics import METRICS, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.languages import ENGLISH
from visiglot.languages import language as language_row
from visiglot.types import Prediction

_DOTTED_I = frozenset({"tur_Latn", "azj_Latn", "crh_Latn"})
_ARABIC = frozenset({"arb", "acm", "acq", "aeb", "ajp", "apc", "ars", "ary", "arz"})
"""Languages that write Arabic's own yeh and kaf."""

_NO_WIDTH = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_JOINERS = re.compile("[\u200c\u200d]")
_ARABIC_MARKS = re.compile("[\u0640\u064b-\u0652\u0670]")
_HEBREW_POINTS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]")
_PERSIAN_LETTERS = str.maketrans({"\u064a": "\u06cc", "\u0643": "\u06a9"})
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bb\u02bc\u02b9\u0060\u00b4\u05f3\uff07", "'"))
_SEPARATORS = str.maketrans({"\u066b": ".", "\u066c": ","})
_INITIALS = re.compile(r"(?<=\b[^\W\d_])\.(?=[^\W\d_]\b)")
_GERSHAYIM = re.compile('(?<=[\u05d0-\u05ea])"(?=[\u05d0-\u05ea])')
_KEPT = frozenset("%&@#")


@cache
def _table(name: str) -> dict[str, tuple[str, ...]]:
    text = resources.files("visiglot.evaluate.metrics").joinpath("normal.toml").read_text(encoding="utf-8")
    return {code: tuple(words) for code, words in tomllib.loads(text)[name].items()}


@cache
def _traits(language: str) -> tuple[str, bool]:
    """(script, whether words stand between spaces)."""
    try:
        row = language_row(language)
    except LanguageError:
        return language.rpartition("_")[2], True
    return row.script, row.segmentation in ("spaces", "syllables")


@lru_cache(maxsize=2**16)
def normalised(text: str, language: str) -> str:
    """`text` in the form in which answers in `language` (a FLORES-200 code) are compared."""
    words = normalised_words(text, language)
    kept = _without_articles(words, language)
    return (" " if _traits(language)[1] else "").join(kept)


def normalised_words(text: str, language: str) -> list[str]:
    """Steps 1 to 6: what stands between spaces, with articles; in languages without spaces these are no words."""
    script, _ = _traits(language)
    text = _NO_WIDTH.sub("", unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)))
    text = unicodedata.normalize("NFC", _folded(text, language))
    if script == "Arab":
        text = _ARABIC_MARKS.sub("", _JOINERS.sub("", text))
        if language[:3] not in _ARABIC:
            text = text.translate(_PERSIAN_LETTERS)
    elif script == "Hebr":
        text = _GERSHAYIM.sub("\u05f4", _HEBREW_POINTS.sub("", text))
    text = _INITIALS.sub("", text)
    digits = "".join(_plain_digit(sign) for sign in text.translate(_SEPARATORS))
    return "".join(_sign(digits, place) for place in range(len(digits))).split()


def _folded(text: str, language: str) -> str:
    if language in _DOTTED_I:
        text = text.replace("I\u0307", "i").replace("I", "ı").replace("İ", "i")
    return text.casefold()


def _plain_digit(sign: str) -> str:
    return str(unicodedata.decimal(sign)) if sign.isdecimal() else sign


def _sign(text: str, place: int) -> str:
    """The sign at `place`, or a space where it is punctuation that says nothing."""
    sign = text[place]
    if unicodedata.category(sign)[0] != "P" or sign in _KEPT:
        return sign
    before, after = text[place - 1] if place else " ", text[place + 1] if place + 1 < len(text) else " "
    if sign in ".,:/" and before.isdecimal() and after.isdecimal():
        return sign
    if sign in "'\u05f4" and (after.isalnum() or before.isalnum()):
        return sign
    return " "


def _without_articles(words: Sequence[str], language: str) -> list[str]:
    articles = _table("articles").get(language, ())
    joined = _table("joined").get(language, ())
    kept = []
    for word in (word.rstrip("'") if word not in articles else word for word in words):
        for article in articles:
            if article.endswith("'") and word.startswith(article) and len(word) > len(article):
                word = word[len(article) :]
        for article in joined:
            if word.startswith(article) and len(word) >= len(article) + 3:
                word = word[len(article) :]
        word = word if word in articles else word.lstrip("'")
        if word and word not in articles:
            kept.append(word)
    return kept or list(words)


def is_normalised_match(text: str, references: Sequence[str], language: str) -> bool:
    """Whether `text` equals one of `references` in the form that `normalised` gives."""
    answer = normalised(text, language)
    return any(answer == normalised(reference, language) for reference in references)


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """1 for each answer that equals a reference after normalisation, else 0."""
    return mean_statistics([float(is_normalised_match(*answer_and_references(row), language)) for row in rows], rows)


def measure_in_english(rows: Sequence[Prediction], language: str) -> Statistics:
    """The same for answers that are English whatever the question's language is."""
    return measure(rows, ENGLISH)


METRICS.add(
    "normalised-exact-english",
    Metric(
        name="normalised-exact-english",
        about="Share of answers that equal a reference after English's normalisation of case, digits, punctuation, "
        "articles and spaces, whatever the question's language is.",
        measure=measure_in_english,
        reduce=mean,
        tokenisation=lambda: "visiglot-normal-1|eng_Latn",
    ),
)
METRICS.add(
    "normalised-exact",
    Metric(
        name="normalised-exact",
        about="Share of answers that equal a reference after a normalisation of case, digits, punctuation, articles "
        "and spaces that is the language's own.",
        measure=measure,
        reduce=mean,
        tokenisation=lambda: "visiglot-normal-1",
    ),
)
