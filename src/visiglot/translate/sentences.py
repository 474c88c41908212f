"""Where sentences end, by script and language, and how one that is too long is cut further.

Nothing is ever lost: the pieces are slices of the text, in its order, and only whitespace is between them.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from visiglot.languages import language

LONGEST_WORDS = 60
"""Words of a sentence that engines are sent at once: the models in use are trained on single sentences."""

LONGEST = 400
"""Characters of one, whatever its words are."""

LONGEST_UNSPACED = 150
"""Characters of one in a language that doesn't write spaces between words."""

LEAST = 40
"""Characters that stand on each side of a sentence's end that only a space or a shad marks (Thai, Lao, Tibetan)."""

LONGEST_ABBREVIATION = 24
"""Characters that are looked at before and behind a mark."""

Span = tuple[int, int]
"""Start and end of a piece of a text, without whitespace around it."""

_CLOSING = "\"'”’»›)\\]}）」』】》〉〕］｝"
_OPENING = "\"'“„‘‚«‹([{（「『【《〈〔［｛¿¡"
_OPENING_SPACED = f"{_OPENING} \u00a0\u202f"
_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_WORD_BEFORE = re.compile(r"[^\s\"'“„‘«(\[（「]*$")
_STOPPED = re.compile(r"[^\W\d_]{1,4}(?:\.[^\W\d_]{1,4})+")
_QUOTED_ON = re.compile(r"と|って|っ|の|を|が")
"""What goes on after a Japanese quotation, and begins no sentence."""

_SOFT = {
    "Thai": r"(?<=[\u0e01-\u0e4e])[ \u00a0]+(?=[\u0e01-\u0e2e\u0e40-\u0e44])",
    "Laoo": r"(?<=[\u0e81-\u0ecd])[ \u00a0]+(?=[\u0e81-\u0eae\u0ec0-\u0ec4])",
    "Tibt": r"(?<=[\u0f0d-\u0f11])[ \u00a0]+(?=[\u0f40-\u0f6c])",
}
"""Script -> the spaces that may end a sentence."""

_CLAUSE = re.compile(rf"(?:[;:,،؛፣፤፥·—–-](?=\s)|[，、；：၊،؛፣፤])[{_CLOSING}]*\s*")
_GAP = re.compile(r"[\s\u200b]+|(?<=\u0f0b)")
_LEADING_VOWELS = "เแโใไເແໂໃໄ"
"""Vowels of Thai and Lao that are written before their consonant."""

_JOINERS = "\u200c\u200d\u2060"
_UNCASED_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class _Rules:
    """Of one language: see sentences.toml.

    Args:
        end: the marks of an end with the closing marks that follow them.
        always: those of the marks that need nothing behind them.
    """

    end: re.Pattern[str]
    always: frozenset[str]
    soft: re.Pattern[str] | None
    abbreviations: frozenset[str]
    numbered: frozenset[str]
    ordinals: bool
    spaced: bool


def split_sentences(text: str, code: str) -> tuple[str, ...]:
    """The sentences of a text without the whitespace around them; those without a letter are left out.

    Args:
        code: FLORES-200 code of its language.
    """
    return tuple(
        text[line.start() + start : line.start() + end]
        for line in _LINE.finditer(text)
        for start, end in sentence_spans(line[0], code)
        if any(map(str.isalpha, text[line.start() + start : line.start() + end]))
    )


def ends_are_marked(code: str) -> bool:
    """Whether a language marks the ends of its sentences, so that they can be counted. Thai, Lao and Tibetan don't."""
    return language(code).script not in _SOFT


def sentence_spans(line: str, code: str) -> list[Span]:
    """The sentences of a text without line breaks. What is between them is whitespace, or nothing."""
    rules = _rules(language(code).code)
    cased = any(map(str.isupper, line))
    bounds = [0]
    for match in rules.end.finditer(line):
        if match.end() < len(line) and _ends(line, match, rules, cased):
            bounds += [match.end()]
    spans = _between(line, bounds)
    if rules.soft is None:
        return spans
    return [piece for start, end in spans for piece in _soft_spans(line, start, end, rules.soft)]


def short_spans(sentence: str, code: str) -> list[Span]:
    """A sentence in pieces that aren't longer than LONGEST_WORDS and LONGEST or LONGEST_UNSPACED.

    It is cut at a mark of a clause where there is one in reach, else at a space, else between two characters.
    """
    rules = _rules(language(code).code)
    bounds, start = [0], 0
    while (limit := _limit(sentence, start, spaced=rules.spaced)) < len(sentence):
        start = _cut(sentence, start, limit)
        bounds += [start]
    return _between(sentence, bounds)


def _between(text: str, bounds: list[int]) -> list[Span]:
    """The pieces that begin at `bounds`, without whitespace around them; empty ones are left out."""
    spans = []
    for start, end in zip(bounds, [*bounds[1:], len(text)], strict=True):
        piece = text[start:end]
        if words := piece.strip():
            first = start + piece.index(words)
            spans.append((first, first + len(words)))
    return spans


def _ends(line: str, match: re.Match[str], rules: _Rules, cased: bool) -> bool:
    """Whether the marks in `match` end a sentence; something follows them."""
    before = line[max(0, match.start() - LONGEST_ABBREVIATION) : match.start()]
    after = line[match.end() : match.end() + LONGEST_ABBREVIATION]
    marks = match["marks"]
    if not rules.always.isdisjoint(marks):
        return not (match["closed"] and _QUOTED_ON.match(after))
    follows = after.lstrip()
    if not follows:
        return False
    if follows == after:
        return bool(before and _UNCASED_WIDE.match(before[-1]) and _UNCASED_WIDE.match(after))
    first = follows.lstrip(_OPENING_SPACED)[:1]
    dash = follows[:2] in ("- ", "– ", "— ")
    if not (first.isalnum() or dash):
        return False
    if first.islower() and (cased or marks.startswith("…") or ".." in marks):
        return False
    return marks != "." or not _is_abbreviated(before, first, rules)


def _is_abbreviated(before: str, first: str, rules: _Rules) -> bool:
    """Whether the full stop behind `before` belongs to a word or a number; `first` begins what follows."""
    found = _WORD_BEFORE.search(before)
    word = found[0] if found else ""
    if word.isdecimal():
        return rules.ordinals and len(word) <= 2
    if len(word) == 1 and word.isalpha():
        return not _UNCASED_WIDE.match(word)
    folded = word.casefold()
    if folded in rules.numbered and first.isdecimal():
        return True
    return folded in rules.abbreviations or _STOPPED.fullmatch(word) is not None


def _soft_spans(line: str, start: int, end: int, soft: re.Pattern[str]) -> Iterator[Span]:
    """A piece of a line, cut where a space may end a sentence and enough stands on both sides."""
    for match in soft.finditer(line, start, end):
        if match.start() - start >= LEAST and end - match.end() >= LEAST:
            yield start, match.start()
            start = match.end()
    yield start, end


def _limit(text: str, start: int, *, spaced: bool) -> int:
    """Where a piece that begins at `start` must have ended; the text's length where the rest is short enough."""
    limit = start + (LONGEST if spaced else LONGEST_UNSPACED)
    for count, word in enumerate(re.finditer(r"\S+", text[start : limit + 1]), 1):
        if count > LONGEST_WORDS:
            return min(limit, start + word.start())
    return min(limit, len(text))


def _cut(text: str, start: int, limit: int) -> int:
    """The best place to cut the piece that begins at `start`, behind it and not behind `limit`."""
    length = limit - start
    parts = -(-(len(text) - start) // length)
    wanted = start + min((len(text) - start) // parts, length)
    for pattern, least in ((_CLAUSE, start + length // 4), (_GAP, start + length // 4), (_GAP, start + 1)):
        places = [m.end() for m in pattern.finditer(text, start, limit) if least <= m.end() <= limit]
        if places:
            return min(places, key=lambda place: abs(place - wanted))
    place = limit
    while place > start + 1 and not _may_part(text[place - 1], text[place]):
        place -= 1
    return place if place > start + 1 else limit


def _may_part(before: str, after: str) -> bool:
    """Whether two characters that no space is between may be parted: not a letter and its marks."""
    joined = after in _JOINERS or before in _JOINERS or before in _LEADING_VOWELS
    return not joined and not unicodedata.category(after).startswith("M")


@cache
def _rules(code: str) -> _Rules:
    table = tomllib.loads(files("visiglot.translate").joinpath("sentences.toml").read_text(encoding="utf-8"))
    row = language(code)
    always = frozenset(table["always"])
    own = table["own"].get(row.script, "")
    marks = "".join(map(re.escape, sorted({*always, *own, *".!?…‥"})))
    words = " ".join(table["abbreviations"].get(key, "") for key in ("any", row.code))
    return _Rules(
        end=re.compile(rf"(?P<marks>[{marks}]+)(?P<closed>[{_CLOSING}]*(?:[ \u00a0\u202f]»|“(?!\S))?)"),
        always=always,
        soft=re.compile(_SOFT[row.script]) if row.script in _SOFT else None,
        abbreviations=frozenset(words.casefold().split()),
        numbered=frozenset(table["numbered"].casefold().split()),
        ordinals=row.code in table["ordinals"],
        spaced=row.segmentation == "spaces",
    )
