"""Blocks -> HTML. Everything that isn't markup goes through `escape`; every text in a language says which one."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

from visiglot.errors import ImageError
from visiglot.sheet.blocks import (
    MARKS,
    Bar,
    Bars,
    Block,
    Card,
    Cards,
    Code,
    Heading,
    Links,
    Measure,
    Panel,
    Paragraph,
    Scatter,
    Table,
    Text,
    english_name,
    format_value,
    grouped,
    has_interval,
    measures_by_series,
    native_name,
    series_of,
)
from visiglot.sheet.style import STYLE

_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


BRIEF = 24
"""Characters of a table's cell that isn't broken into lines: a name, a few words."""

WORDS = 40
"""Characters from which on a text has the card's whole width, below its label."""

GENERATOR = '<meta name="generator" content="Visiglot">'
"""In the head of every page, so that a page is never written over another program's file."""


def page_html(title: str, summary: str, language: str, blocks: Sequence[Block]) -> str:
    """The whole document. Raises ImageError (a card's bytes are no picture) and LanguageError."""
    body = "\n".join(map(_block_html, blocks))
    below = f'<p class="summary">{escape(summary)}</p>\n' if summary else ""
    return (
        f'<!doctype html>\n<html lang="{escape(_bcp47(language))}">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f'{GENERATOR}\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n{below}</header>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _block_html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Code(text):
            return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
        case Table():
            return _table_html(block)
        case Bars():
            return _bars_html(block)
        case Scatter():
            return _scatter_html(block)
        case Cards(cards):
            return '<div class="cards">\n' + "\n".join(map(_card_html, cards)) + "\n</div>"
        case Links(label, links):
            items = ", ".join(f'<a href="{escape(link.target)}">{escape(link.title)}</a>' for link in links)
            return f'<p class="links">{escape(label)}: {items}</p>'


def _table_html(table: Table) -> str:
    def cell(index: int, text: str, scope: str) -> str:
        kind = "th" if scope else "td"
        attributes = f' scope="{scope}"' if scope else ""
        if index in table.numeric:
            attributes += ' class="number"'
        elif not scope and len(text) <= BRIEF:
            attributes += ' class="brief"'
        return f"<{kind}{attributes}><bdi>{escape(text)}</bdi></{kind}>"

    def line(cells: Sequence[str], *, head: bool) -> str:
        scopes = ("col" if head else "row" if i == 0 else "" for i in range(len(cells)))
        return "<tr>" + "".join(cell(i, text, scope) for i, (text, scope) in enumerate(zip(cells, scopes))) + "</tr>"

    head = line(table.columns, head=True)
    rows = "\n".join(line(row, head=False) for row in table.rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption>\n<thead>{head}</thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _bars_html(block: Bars) -> str:
    series = series_of(block.bars)
    items = [f'<li><i class="s{i % 6}"></i>{escape(name)}</li>' for i, name in enumerate(series) if len(series) > 1]
    if block.mark is not None:
        value = format_value(block.mark.value, percent=block.percent)
        items.append(f'<li><i class="mark"></i>{escape(f"{block.mark.label}: {value}")}</li>')
    legend = f'<ul class="legend">{"".join(items)}</ul>' if items else ""
    bodies = []
    for heading, bars in grouped(block.bars):
        head = (
            f'<tr class="group"><th colspan="{3 + len(block.columns)}" scope="rowgroup">{escape(heading)}</th></tr>\n'
        )
        rows = "\n".join(_bar_html(bar, block, series) for bar in bars)
        bodies.append(f"<tbody>\n{head if heading else ''}{rows}\n</tbody>")
    columns = "".join(f'<th scope="col" class="number">{escape(name)}</th>' for name in block.columns)
    unseen = "" if block.columns else ' class="unseen"'
    name, drawn = (f'<span class="unseen">{word}</span>' for word in ("name", "bar"))
    return (
        f"<figure><figcaption>{escape(block.caption)}</figcaption>{legend}"
        f'<table class="bars{" many" if block.columns else ""}"><thead{unseen}><tr><th scope="col">{name}</th>'
        f'<th scope="col">{drawn}</th><th scope="col" class="number">value (interval)</th>{columns}</tr></thead>'
        f"{''.join(bodies)}</table></figure>"
    )


def _bar_html(bar: Bar, block: Bars, series: list[str]) -> str:
    label = escape(bar.label)
    if bar.language is not None:
        native = native_name(bar.language)
        label += f" {_foreign(bar.language, native, 'small')}" if native != bar.label else ""
    if bar.note:
        label += f' <small class="note">({escape(bar.note)})</small>'
    measures = measures_by_series(bar, series)
    drawn = "".join(_measure_html(m, block, i) for i, m in enumerate(measures))
    values = "<br>".join(_measure_text(m, block) for m in measures)
    cells = "".join(
        f'<td class="number" data-label="{escape(name)}">'
        + "<br>".join("" if m is None else escape(m.cells[i]) for m in measures)
        + "</td>"
        for i, name in enumerate(block.columns)
    )
    return (
        f'<tr><th scope="row">{label}</th><td class="track" aria-hidden="true">{drawn}</td>'
        f'<td class="number">{values}</td>{cells}</tr>'
    )


def _measure_html(measure: Measure | None, block: Bars, series: int) -> str:
    def place(value: float) -> float:
        return 100 * min(max(value / block.maximum, 0.0), 1.0)

    mark = f'<span class="mark" style="left:{place(block.mark.value):.2f}%"></span>' if block.mark is not None else ""
    if measure is None or not math.isfinite(measure.value):
        return f'<div class="lane">{mark}</div>'
    whisker = ""
    if has_interval(measure):
        low, high = place(measure.low), place(measure.high)
        whisker = f'<span class="whisker" style="left:{low:.2f}%;width:{high - low:.2f}%"></span>'
    return (
        f'<div class="lane"><span class="bar s{series % 6}" style="width:{place(measure.value):.2f}%"></span>'
        f"{mark}{whisker}</div>"
    )


def _measure_text(measure: Measure | None, block: Bars) -> str:
    if measure is None:
        return "–"
    text = escape(format_value(measure.value, percent=block.percent))
    if has_interval(measure):
        low, high = (format_value(end, percent=block.percent).removesuffix(" %") for end in (measure.low, measure.high))
        text += f' <small class="note">{low}–{high}</small>'
    return text


def _scatter_html(block: Scatter) -> str:
    series = list(dict.fromkeys(dots.series for panel in block.panels for dots in panel.dots))
    legend = "".join(f'<li><i class="s{i % 6}"></i>{escape(name)}</li>' for i, name in enumerate(series))
    panels = "\n".join(_panel_html(panel, series) for panel in block.panels)
    return (
        f'<figure><figcaption>{escape(block.caption)}</figcaption><ul class="legend">{legend}</ul>\n'
        f'<div class="panels">\n{panels}\n</div></figure>'
    )


def _panel_html(panel: Panel, series: list[str]) -> str:
    """A square of 100 with the panel's points, as large as they fit; the second series is square, too, not only in
    another colour."""
    points = [point for dots in panel.dots for point in dots.points]
    lows, highs = (
        [pick(point[axis] for point in points) for axis in (0, 1)] if points else [0.0, 0.0] for pick in (min, max)
    )
    span = max((high - low for low, high in zip(lows, highs)), default=0.0) or 1.0
    drawn = []
    for dots in panel.dots:
        at = series.index(dots.series)
        for point in dots.points:
            x, y = (50 + 92 * (value - (low + high) / 2) / span for value, low, high in zip(point, lows, highs))
            where = f'cx="{x:.1f}" cy="{100 - y:.1f}" r="1.1"'
            shape = "circle"
            if at % 2:
                shape, where = "rect", f'x="{x - 1:.1f}" y="{99 - y:.1f}" width="2" height="2"'
            drawn.append(f'<{shape} class="d{at % 6}" {where}/>')
    counts = ", ".join(f"{len(dots.points):,} {dots.series}" for dots in panel.dots)
    return (
        f'<div><p>{escape(panel.title)}</p><svg viewBox="0 0 100 100" role="img" '
        f'aria-label="{escape(f"{panel.title}: {counts}")}">{"".join(drawn)}</svg></div>'
    )


def _card_html(card: Card) -> str:
    picture = ""
    if card.image is not None:
        picture = f'<img src="{_data_uri(card.image)}" alt="{escape(card.alt)}">'
    texts = card.texts
    items = "\n".join(map(_text_html, texts, (None, *texts[:-1]), (*texts[1:], None)))
    caption = f"<p>{escape(card.caption)}</p>" if card.caption else ""
    kind = ' class="sentences"' if any(text.asked or len(text.text) > WORDS for text in texts) else ""
    return f"<figure{kind}>{picture}<figcaption>{caption}<dl>\n{items}\n</dl></figcaption></figure>"


def _text_html(text: Text, before: Text | None, after: Text | None) -> str:
    """A text under its label and what was asked, which stand once for texts that follow each other under both; what
    would have been right, behind the last of those that it is said of."""
    mark = ""
    if text.status is not None:
        sign, said = MARKS[text.status]
        mark = f'<span class="{text.status}" role="img" aria-label="{said}">{sign}</span> '
    head = "" if before is not None and _label(before) == _label(text) else f"<dt>{escape(_label(text))}</dt>"
    asked = expected = ""
    if text.asked and (head or (before is not None and before.asked != text.asked)):
        asked = f'<dd class="asked">{_foreign(text.language, text.asked, "small")}</dd>'
    words = _foreign(text.language, text.text) if text.text else ""
    shared = ("" if after is None else _label(after), "" if after is None else after.expected)
    if text.expected and shared != (_label(text), text.expected):
        expected = _foreign(text.language, text.expected, "small")
    note = f'<small class="note" dir="auto">{escape(text.note)}</small>' if text.note else ""
    empty = "" if text.text or text.status == "error" else '<small class="note">(empty)</small>'
    return f"{head}{asked}<dd>{mark}{words}{empty}{note}{expected}</dd>"


def _label(text: Text) -> str:
    return text.label or english_name(text.language)


def _bcp47(code: str) -> str:
    from visiglot.languages import language

    return language(code).bcp47


def _foreign(code: str, text: str, kind: str = "span") -> str:
    tag = _bcp47(code) if code else ""  # HTML's way to say that a language isn't known
    return f'<{kind} lang="{escape(tag)}" dir="auto">{escape(text)}</{kind}>'


def _data_uri(image: bytes) -> str:
    kind = next((kind for magic, kind in _KINDS if image.startswith(magic)), None)
    if kind is None and image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None:
        raise ImageError(
            f"a picture of {len(image)} bytes for a page is no PNG, JPEG, GIF or WebP (it starts with {image[:8]!r})",
            hint="Re-encode it as PNG before it is put on the page.",
        )
    return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"
