"""What a page is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
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
        asked: what was asked, shown before the words, in the same language.
    """

    language: str
    text: str
    note: str = ""
    status: Status | None = None
    expected: str = ""
    label: str = ""
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A picture and its texts. `image` holds the bytes of a PNG, JPEG, GIF or WebP file; None: no picture.

    Texts that follow each other under one label, with the same `asked`, share both.
    """

    image: bytes | None
    alt: str
    texts: tuple[Text, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One bar: a value with its interval. NaN where nothing was measured.

    Args:
        cells: what stands beside it, one for each of the figure's further columns.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    series: str = ""
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A label with one measure for each series; `language` makes the native name stand beside the label. Bars that
    follow each other with one `group` stand under it as their heading."""

    label: str
    measures: tuple[Measure, ...]
    language: str | None = None
    note: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that is marked across all bars of a figure, such as what guessing gives."""

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Dots:
    """Points of one kind in a plane."""

    series: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawing of points, on a scale of its own."""

    title: str
    dots: tuple[Dots, ...]


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
    columns: tuple[str, ...] = ()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Scatter:
    """Panels side by side, whose series are the same."""

    panels: tuple[Panel, ...]
    caption: str


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


Block = Heading | Paragraph | Code | Table | Bars | Scatter | Cards | Links


def format_value(value: float, *, percent: bool) -> str:
    """The number as pages write it: "41.3 %" (0.413 given) or "41.30"; "–" where nothing was measured."""
    if not math.isfinite(value):
        return "–"
    scaled = 100 * value if percent else value
    digits = 1 if percent else 2
    shown = f"{round(scaled, digits) + 0.0:.{digits}f}"  # adding 0 makes a plain zero of a negative one
    return (f"{shown} %" if percent else shown).replace("-", "−")


def has_interval(measure: Measure) -> bool:
    return math.isfinite(measure.low) and math.isfinite(measure.high)


def series_of(bars: tuple[Bar, ...]) -> list[str]:
    """Names of the series, in the order they first appear."""
    return list(dict.fromkeys(measure.series for bar in bars for measure in bar.measures))


def grouped(bars: tuple[Bar, ...]) -> list[tuple[str, list[Bar]]]:
    """(heading, its bars), in their order."""
    return [(name, list(members)) for name, members in groupby(bars, key=lambda bar: bar.group)]


def measures_by_series(bar: Bar, series: list[str]) -> list[Measure | None]:
    """The bar's measure of each series; None where it has none."""
    found = {measure.series: measure for measure in bar.measures}
    return [found.get(name) for name in series]


def native_name(code: str) -> str:
    from visiglot.languages import language

    return language(code).native


def english_name(code: str) -> str:
    from visiglot.languages import language

    return language(code).name
