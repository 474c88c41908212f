"""What a page is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["right", "wrong", "error"]

MARKS: dict[Status, tuple[str, str]] = {"right": ("✓", "right"), "wrong": ("✗", "wrong"), "error": ("!", "failed")}
"""The sign of a status and what is read aloud for it."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a language.

    Args:
        language: FLORES-200 code; "" where it isn't known, which goes with a label.
        text: the words; empty ones are shown as "(empty)".
        note: said beside them, in the page's own language.
        status: a mark in front of them.
        expected: what would have been right, in the same language.
        label: heads it instead of the language's English name.
    """

    language: str
    text: str
    note: str = ""
    status: Status | None = None
    expected: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A picture and its texts. `image` holds the bytes of a PNG, JPEG, GIF or WebP file; None: no picture."""

    image: bytes | None
    alt: str
    texts: tuple[Text, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One bar: a value with its interval. NaN where nothing was measured."""

    value: float
    low: float = math.nan
    high: float = math.nan
    series: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A label with one measure for each series; `language` makes the native name stand beside the label."""

    label: str
    measures: tuple[Measure, ...]
    language: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    numeric: frozenset[int]


@dataclass(frozen=True, slots=True)
class Bars:
    bars: tuple[Bar, ...]
    caption: str
    maximum: float
    percent: bool


@dataclass(frozen=True, slots=True)
class Cards:
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Another page: an http(s) URL, or a path relative to the page's folder, percent-encoded."""

    title: str
    target: str


@dataclass(frozen=True, slots=True)
class Links:
    """A line that leads to other pages; `label` stands in front of them."""

    label: str
    links: tuple[Link, ...]


Block = Heading | Paragraph | Code | Table | Bars | Cards | Links


def format_value(value: float, *, percent: bool) -> str:
    """The number as pages write it: "41.3 %" (0.413 given) or "41.30"; "–" where nothing was measured."""
    if not math.isfinite(value):
        return "–"
    return (f"{100 * value:.1f} %" if percent else f"{value:.2f}").replace("-", "−")


def has_interval(measure: Measure) -> bool:
    return math.isfinite(measure.low) and math.isfinite(measure.high)


def series_of(bars: tuple[Bar, ...]) -> list[str]:
    """Names of the series, in the order they first appear."""
    return list(dict.fromkeys(measure.series for bar in bars for measure in bar.measures))


def native_name(code: str) -> str:
    from visiglot.languages import language

    return language(code).native


def english_name(code: str) -> str:
    from visiglot.languages import language

    return language(code).name
