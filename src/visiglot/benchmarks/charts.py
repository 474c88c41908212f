"""Bar and pie charts with labels in any script, for SMPQA: planned once for all languages, then drawn with labels.

A plan follows from a seed and nothing else; a picture from the plan and its labels, which come as masks of their ink,
and is the same to the byte.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Kind = Literal["bar", "pie"]

COLOURS = {
    "red": (214, 39, 40),
    "blue": (31, 82, 189),
    "green": (44, 140, 44),
    "yellow": (247, 214, 20),
    "orange": (255, 127, 14),
    "purple": (128, 0, 148),
    "pink": (255, 133, 194),
    "brown": (121, 68, 38),
    "grey": (135, 135, 135),
    "black": (20, 20, 20),
}
"""Names and RGB."""
CHARTS = 50
"""Of each kind, as published."""
FEWEST, MOST = 4, 8
"""Bars or slices."""
VALUES = range(30, 101, 5)
"""Of bars and slices; no two of a chart are the same."""
TEXT = 22
"""Size of a label's font in pixels."""
LINE = 2 * TEXT
"""Pixels that a label has for its height: marks stack high in some scripts."""
GAP = 14
APART = 0.12
"""How far a slice is moved out, in radii."""
WHITE, INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart shows, but for its labels.

    Args:
        values: one for each bar or slice; colours: names in COLOURS, all different.
        size: width and height in pixels of the part without labels.
        across: whether bars lie.
        apart: slices that are moved out; turn: degrees at which the first slice begins.
    """

    kind: Kind
    number: int
    values: tuple[int, ...]
    colours: tuple[str, ...]
    size: tuple[int, int]
    across: bool = False
    apart: frozenset[int] = frozenset()
    turn: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def biggest(self) -> int:
        return self.values.index(max(self.values))

    @property
    def smallest(self) -> int:
        return self.values.index(min(self.values))


def plan(seed: int) -> list[Chart]:
    """The charts of a seed, bars first: as many of each kind as published, with 4 to 8 parts."""
    kinds: tuple[Kind, ...] = ("bar", "pie")
    return [_planned(kind, number, seed) for kind in kinds for number in range(CHARTS)]


def _planned(kind: Kind, number: int, seed: int) -> Chart:
    draw = Random(f"smpqa/{seed}/{kind}/{number}")
    count = draw.randint(FEWEST, MOST)
    values, colours = tuple(draw.sample(VALUES, count)), tuple(draw.sample(list(COLOURS), count))
    if kind == "bar":
        size = (count * draw.randint(50, 90), draw.randint(240, 420))
        across = draw.random() < 0.5
        return Chart(kind, number, values, colours, size[::-1] if across else size, across)
    side = 2 * draw.randint(130, 200)
    apart = frozenset(n for n in range(count) if draw.random() < 0.25)
    return Chart(kind, number, values, colours, (side, side), apart=apart, turn=draw.randrange(360))


def draw_chart(chart: Chart, labels: Sequence[Image]) -> bytes:
    """A PNG of a chart.

    Args:
        labels: one for each bar or slice, an "L" picture of its ink (`visiglot.lettering.text_mask`).
    """
    if chart.kind == "pie":
        picture = _pie(chart, labels)
    else:
        picture = _lying_bars(chart, labels) if chart.across else _bars(chart, labels)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _canvas(width: int, height: int) -> tuple[Image, ImageDraw]:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), WHITE)
    return picture, ImageDraw.Draw(picture)


def _put(picture: Image, label: Image, x: int, y: int, side: Literal["left", "middle", "right"]) -> None:
    """A label, its middle at height y, and its side of that name at x."""
    before = {"left": 0, "middle": label.width // 2, "right": label.width}[side]
    picture.paste(INK, (x - before, y - label.height // 2), label)


def _bars(chart: Chart, labels: Sequence[Image]) -> Image:
    """Standing bars, each with its label below; wider where the labels are."""
    count = len(labels)
    slot = max(chart.size[0] // count, max(label.width for label in labels) + GAP)
    height = chart.size[1]
    picture, draw = _canvas(slot * count + 2 * GAP, height + LINE + 3 * GAP)
    bar = chart.size[0] // count - GAP
    floor = GAP + height
    for n, (label, value, colour) in enumerate(zip(labels, chart.values, chart.colours, strict=True)):
        middle = GAP + slot * n + slot // 2
        top = floor - height * value // max(VALUES)
        draw.rectangle((middle - bar // 2, top, middle + bar // 2, floor), COLOURS[colour], INK)
        _put(picture, label, middle, floor + GAP + TEXT, "middle")
    draw.line((GAP, floor, GAP + slot * count, floor), INK, 2)
    return picture


def _lying_bars(chart: Chart, labels: Sequence[Image]) -> Image:
    """Lying bars, each with its label to the left."""
    count = len(labels)
    slot = max(chart.size[1] // count, LINE)
    left = max(label.width for label in labels) + 2 * GAP
    picture, draw = _canvas(left + chart.size[0] + GAP, slot * count + 2 * GAP)
    for n, (label, value, colour) in enumerate(zip(labels, chart.values, chart.colours, strict=True)):
        middle = GAP + slot * n + slot // 2
        right = left + chart.size[0] * value // max(VALUES)
        draw.rectangle((left, middle - slot // 3, right, middle + slot // 3), COLOURS[colour], INK)
        _put(picture, label, left - GAP, middle, "right")
    draw.line((left, GAP, left, GAP + slot * count), INK, 2)
    return picture


def _pie(chart: Chart, labels: Sequence[Image]) -> Image:
    """Slices, clockwise, and the labels beside the pie, in a column on each side, joined to their slices by lines."""
    radius = chart.size[0] // 2
    moved = math.ceil(radius * APART)
    reach = radius + moved + 2 * GAP
    width = 2 * (reach + 2 * GAP + max(label.width for label in labels))
    picture, draw = _canvas(width, max(2 * reach, LINE * len(labels) + 2 * GAP))
    centre = picture.width // 2, picture.height // 2
    start, total = float(chart.turn), sum(chart.values)
    edges: list[tuple[int, int, int]] = []
    for n, (value, colour) in enumerate(zip(chart.values, chart.colours, strict=True)):
        end = start + 360 * value / total
        across, down = math.cos(math.radians((start + end) / 2)), math.sin(math.radians((start + end) / 2))
        out = moved if n in chart.apart else 0
        x, y = centre[0] + round(across * out), centre[1] + round(down * out)
        draw.pieslice((x - radius, y - radius, x + radius, y + radius), start, end, COLOURS[colour], INK)
        edges.append((n, x + round(across * radius), y + round(down * radius)))
        start = end
    for right in (False, True):
        side = sorted((edge for edge in edges if (edge[1] >= centre[0]) == right), key=lambda edge: (edge[2], edge[0]))
        column = centre[0] + (reach + GAP if right else -reach - GAP)
        for (n, x, y), line in zip(side, _lines([edge[2] for edge in side], picture.height), strict=True):
            draw.line((x, y, column + (-GAP // 2 if right else GAP // 2), line), INK, 1)
            _put(picture, labels[n], column, line, "left" if right else "right")
    return picture


def _lines(wanted: Sequence[int], height: int) -> list[int]:
    """Heights at which labels stand that would stand at `wanted`, sorted: apart from each other, and in the picture."""
    found: list[int] = []
    for y in wanted:
        found.append(max(y, found[-1] + LINE if found else GAP + TEXT))
    floor = height - GAP - TEXT
    for n in reversed(range(len(found))):
        found[n] = min(found[n], floor)
        floor = found[n] - LINE
    return found
