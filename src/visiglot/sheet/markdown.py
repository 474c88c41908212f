"""Blocks -> Markdown, pictures left out."""

from __future__ import annotations

from collections.abc import Sequence

from visiglot.sheet.blocks import (
    MARKS,
    Bars,
    Block,
    Card,
    Cards,
    Code,
    Heading,
    Links,
    Measure,
    Paragraph,
    Scatter,
    Table,
    english_name,
    format_value,
    has_interval,
    measures_by_series,
    series_of,
)


def page_markdown(title: str, summary: str, blocks: Sequence[Block]) -> str:
    """The whole document."""
    parts = [f"# {_md(title)}", *([_md(summary)] if summary else []), *map(_block_markdown, blocks)]
    return "\n\n".join(parts) + "\n"


def _md(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        flat = flat.replace(sign, "\\" + sign)
    return flat


def _block_markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_md(text)}"
        case Paragraph(text):
            return _md(text)
        case Code(text):
            fence = "```"
            while fence in text:
                fence += "`"
            return f"{fence}text\n{text}\n{fence}"
        case Table():
            return f"{_md(block.caption)}\n\n" + _grid(block.columns, block.rows, block.numeric)
        case Bars():
            return _bars_markdown(block)
        case Scatter(panels, caption):
            drawn = (
                f"{panel.title}: " + ", ".join(f"{len(dots.points):,} {dots.series}" for dots in panel.dots)
                for panel in panels
            )
            return _md(f"{caption} (drawn on the page; {'; '.join(drawn)})")
        case Cards(cards):
            return "\n\n".join(map(_card_markdown, cards))
        case Links(label, links):
            return f"{_md(label)}: " + ", ".join(f"[{_md(link.title)}](<{link.target}>)" for link in links)


def _bars_markdown(block: Bars) -> str:
    """A column for each series, and one for each further column of each series; the group as a column of its own."""
    series = series_of(block.bars)
    grouped = any(bar.group for bar in block.bars)
    several = len(series) > 1
    heads = [name or "value" for name in series]
    heads += [f"{column}, {name}" if several else column for column in block.columns for name in series]
    rows = []
    for bar in block.bars:
        measures = measures_by_series(bar, series)
        cells = [_interval(measure, block) for measure in measures]
        cells += ["" if m is None else m.cells[i] for i in range(len(block.columns)) for m in measures]
        label = f"{bar.label} ({bar.note})" if bar.note else bar.label
        rows.append((label, *cells, *([bar.group] if grouped else [])))
    caption = block.caption
    if block.mark is not None:
        caption += f" ({block.mark.label}: {format_value(block.mark.value, percent=block.percent)})"
    columns = ("", *heads, *(["group"] if grouped else []))
    return f"{_md(caption)}\n\n" + _grid(columns, rows, frozenset(range(1, len(heads) + 1)))


def _interval(measure: Measure | None, block: Bars) -> str:
    if measure is None:
        return "–"
    text = format_value(measure.value, percent=block.percent)
    if has_interval(measure):
        low, high = (format_value(end, percent=block.percent).removesuffix(" %") for end in (measure.low, measure.high))
        text += f" ({low}–{high})"
    return text


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[int]) -> str:
    rule = ["---:" if i in numeric else "---" for i in range(len(columns))]
    lines = [[_md(c) for c in columns], rule, *([_md(c) for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _card_markdown(card: Card) -> str:
    lines = [f"**{_md(card.caption or card.alt)}**", ""]
    for text in card.texts:
        mark = f"{MARKS[text.status][0]} " if text.status is not None else ""
        words = _md(text.text) if text.text or text.status == "error" else "(empty)"
        asked = f"{_md(text.asked)} → " if text.asked else ""
        expected = f" [{_md(text.expected)}]" if text.expected else ""
        note = f" ({_md(text.note)})" if text.note else ""
        lines.append(f"- {_md(text.label or english_name(text.language))}: {asked}{mark}{words}{expected}{note}")
    return "\n".join(lines)
