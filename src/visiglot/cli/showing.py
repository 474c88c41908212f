"""Answers on the terminal and on a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.cli.console import counted, isolated, say, stdout
from visiglot.cli.errors import paragraph
from visiglot.cli.pictures import card_image
from visiglot.cli.rows import AnswerRow
from visiglot.errors import VisiglotError
from visiglot.languages import ENGLISH, language
from visiglot.types import ImageRef

if TYPE_CHECKING:
    from visiglot.sheet import Text

ERRORS_SHOWN = 10
"""Different errors that are told on the terminal; rows have them all."""


def print_rows(rows: Sequence[AnswerRow]) -> None:
    """The answers about one picture as a table, unless all failed: that is said on stderr, with what to do about it."""
    from rich.table import Table
    from rich.text import Text

    if all(row.error is not None for row in rows):
        return
    console = stdout()
    console.print(Text(rows[0].image, style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for row in rows:
        known = None if row.language is None else language(row.language)
        direction = "ltr" if known is None else known.direction
        native = "" if known is None else isolated(known.native, direction)
        answer = Text(f"error: {row.error}", "red") if row.text is None else Text(isolated(row.text, direction))
        table.add_row(row.language or "", native, answer)
    console.print(table)


class Sheet:
    """A page with pictures and what is said of them; the small copies of the pictures stay in memory until it is
    written.

    Args:
        prompt: what all rows were asked; None where rows bring prompts of their own, which then stand beside them.
    """

    def __init__(self, path: Path, *, model: str, prompt: str | None) -> None:
        self._path = path
        self._model = model
        self._prompt = prompt
        self._pictures: dict[str, bytes | None] = {}
        self._rows: dict[str, list[AnswerRow]] = {}

    def add(self, refs: Sequence[ImageRef], rows: Sequence[AnswerRow]) -> None:
        """Take the rows about one picture, or about several that are shown together."""
        for row in rows:
            if row.image not in self._pictures:
                self._pictures[row.image] = card_image(*refs)
            self._rows.setdefault(row.image, []).append(row)

    def write(self) -> None:
        """Raises VisiglotError."""
        from visiglot.sheet import Card, Page, write_page

        page = Page(f"What {self._model} says", "" if self._prompt is None else f"Prompt: {self._prompt}")
        page.cards(
            [Card(self._pictures[image], image, self._texts(rows), caption=image) for image, rows in self._rows.items()]
        )
        write_page(page, self._path)
        say(f"page: {self._path}")

    def _texts(self, rows: Sequence[AnswerRow]) -> tuple[Text, ...]:
        """One for each row; an error that several rows have stands once, with their number."""
        errors = Counter(row.error for row in rows)
        first = {row.error: row for row in reversed(rows)}
        return tuple(self._text(row, errors[row.error]) for row in rows if row.error is None or row is first[row.error])

    def _text(self, row: AnswerRow, same: int) -> Text:
        """`same`: how many rows about these pictures have the row's error."""
        from visiglot.sheet import Text

        asked = row.prompt if self._prompt is None else ""
        if row.text is not None:
            return Text(row.language or ENGLISH, row.text, note=asked)
        # an English sentence where an answer in that language would stand
        name = "" if row.language is None else language(row.language).name
        note = ": ".join(filter(None, (name, asked))) if same == 1 else counted(same, "answer")
        return Text(ENGLISH, str(row.error), note=note, status="error")


class Failures:
    """The rows that failed, and what is said about it.

    Args:
        at_once: tell each error as it comes, not at the end.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.rows = 0
        self._at_once = at_once
        self._known: set[int] = set()
        self._shown: list[str] = []

    def add(self, error: VisiglotError) -> None:
        """A row failed."""
        self.rows += 1
        text = paragraph(error)
        if hash(text) in self._known:
            return
        self._known.add(hash(text))
        if len(self._shown) < ERRORS_SHOWN:
            self._shown.append(text)
            if self._at_once:
                say(text)

    def tell(self, rows: int) -> None:
        """Each different error with what to do about it, and how many of `rows` it cost."""
        if not self._at_once:
            for text in self._shown:
                say(text)
        if len(self._known) > len(self._shown):
            say(f"and {len(self._known) - len(self._shown):,} more errors")
        if rows > 1:
            say(f"{self.rows:,} of {rows:,} rows failed")
