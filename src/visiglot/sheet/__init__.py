"""The one writer of pictures-with-texts pages: contact sheets, data checks and reports.

A page is a list of blocks. `html()` gives one self-contained file (a content policy in it forbids every request) and
`markdown()` the same numbers as text, so the two can't say different things. Every text in a language carries `lang`
(BCP-47) and `dir="auto"`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from visiglot.errors import VisiglotError
from visiglot.files import write_text
from visiglot.sheet.blocks import (
    Bar,
    Bars,
    Block,
    Card,
    Cards,
    Code,
    Dots,
    Heading,
    Link,
    Links,
    Mark,
    Measure,
    Panel,
    Paragraph,
    Scatter,
    Status,
    Table,
    Text,
    format_value,
)
from visiglot.sheet.html import GENERATOR, page_html
from visiglot.sheet.markdown import page_markdown

__all__ = [
    "Bar", "Card", "Dots", "Link", "Mark", "Measure", "Page", "Panel", "Status", "Text", "format_value", "is_page",
    "write_page",
]  # fmt: skip


class Page:
    """A page in the making: call the methods in the order of the page, then `write_page`.

    Args:
        title: of the document and its first heading.
        summary: one or two sentences below the title.
        language: FLORES-200 code of the page's own words.
    """

    def __init__(self, title: str, summary: str = "", *, language: str = "eng_Latn") -> None:
        self.title = title
        self.summary = summary
        self.language = language
        self._blocks: list[Block] = []

    def section(self, title: str, *, level: int = 2) -> None:
        assert 2 <= level <= 4, level
        self._blocks.append(Heading(level, title))

    def paragraph(self, text: str) -> None:
        self._blocks.append(Paragraph(text))

    def code(self, text: str) -> None:
        self._blocks.append(Code(text))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, numeric: Sequence[int] = ()
    ) -> None:
        """A table whose first column heads its rows; the columns whose index is in `numeric` are set as numbers."""
        assert all(len(row) == len(columns) for row in rows), "every row has one cell for each column"
        self._blocks.append(Table(tuple(columns), tuple(map(tuple, rows)), caption, frozenset(numeric)))

    def bars(
        self,
        bars: Sequence[Bar],
        *,
        caption: str,
        maximum: float | None = None,
        percent: bool = True,
        columns: Sequence[str] = (),
        mark: Mark | None = None,
    ) -> None:
        """Horizontal bars with interval whiskers.

        Args:
            maximum: the value at the right end; default: the largest value or upper bound.
            percent: write 0.5 as "50.0 %".
            columns: headings of what each measure's `cells` say.
            mark: a value to be marked across all bars.
        """
        assert all(len(m.cells) == len(columns) for bar in bars for m in bar.measures), "a cell for each column"
        if maximum is None:
            ends = [end for bar in bars for m in bar.measures for end in (m.value, m.high) if math.isfinite(end)]
            maximum = max([*ends, *([mark.value] if mark is not None else [])], default=1.0) or 1.0
        self._blocks.append(Bars(tuple(bars), caption, maximum, percent, tuple(columns), mark))

    def scatter(self, panels: Sequence[Panel], *, caption: str) -> None:
        """Points in planes side by side; Markdown says how many there are."""
        self._blocks.append(Scatter(tuple(panels), caption))

    def cards(self, cards: Sequence[Card]) -> None:
        self._blocks.append(Cards(tuple(cards)))

    def links(self, label: str, links: Sequence[Link]) -> None:
        """A line that leads to other pages. A target is an http(s) URL or a relative path."""
        for link in links:
            scheme = urlsplit(link.target).scheme
            assert scheme in ("", "http", "https"), link.target
            assert not any(sign in link.target for sign in "<> \n"), link.target
        self._blocks.append(Links(label, tuple(links)))

    def html(self) -> str:
        """The whole document.

        Raises:
            ImageError: a card's bytes are no picture that browsers show.
            LanguageError: a text's language is unknown.
        """
        return page_html(self.title, self.summary, self.language, self._blocks)

    def markdown(self) -> str:
        """The same page as Markdown, pictures left out."""
        return page_markdown(self.title, self.summary, self._blocks)


def write_page(page: Page, path: Path) -> None:
    """Write the page's HTML beside `path` and rename it into place.

    Raises:
        VisiglotError: the file can't be written.
    """
    write_text(page.html(), path)


def is_page(path: Path) -> bool:
    """Whether the file is a page that `write_page` wrote.

    Raises:
        VisiglotError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return GENERATOR.encode() in file.read(2000)
    except OSError as error:
        raise VisiglotError(f"{path} can't be read: {error.strerror or error}", hint="Name another file.") from error
