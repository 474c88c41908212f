"""The page that shows what a source's examples look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.cli.pictures import card_image
from visiglot.errors import DataError, ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from visiglot.data.inspect import Inspection
    from visiglot.data.source import Source
    from visiglot.sheet import Card
    from visiglot.types import Example

SHOWN = 60
"""Examples on a page, besides those that can't be used."""


def write_sheet(source: Source, found: Inspection, numbers: NDArray[np.int64], path: Path) -> None:
    """Write a page of the examples that can't be used and of some that can, evenly spread.

    Args:
        found: what was found in examples `numbers`.

    Raises:
        VisiglotError: the page can't be written.
    """
    from visiglot.sheet import Page, write_page

    total = sum(len(indices) for indices in source.by_language.values())
    page = Page(
        f"Data check: {source.name}",
        f"{found.looked_at:,} of {total:,} examples looked at, {found.unusable.count:,} can't be used.",
    )
    if found.unusable_numbers:
        page.section("Can't be used")
        page.cards(_cards(source, found.unusable_numbers))
        page.section("Examples")
    shown = numbers[:: -(-len(numbers) // SHOWN)].tolist()
    page.cards(_cards(source, [number for number in shown if number not in found.unusable_numbers]))
    write_page(page, path)


def _cards(source: Source, numbers: Sequence[int]) -> list[Card]:
    cards = []
    for number in numbers:
        try:
            cards.append(_card(source[number]))
        except DataError:
            continue  # the row can't be read, which the command says with its file and line
    return cards


def _card(example: Example) -> Card:
    """All pictures side by side, then the turns, in whatever languages they are."""
    from visiglot.data.inspect import problem_of
    from visiglot.images import load_image
    from visiglot.sheet import Card, Text

    texts = [
        Text(example.language, message.text)
        if message.role == "assistant"
        else Text("", message.text, label="asked" if message.role == "user" else message.role)
        for message in example.messages
        if message.text or message.role == "assistant"
    ]
    if example.messages and example.messages[-1].role != "assistant":
        texts += [Text(example.language, text) for text in example.references]
    problem = problem_of(example)
    try:
        for ref in example.images:
            load_image(ref)
    except ImageError as error:
        problem = problem or error.message
    if problem is not None:
        texts.append(Text("", "", note=problem, status="error", label="problem"))
    licence = "unknown" if example.provenance is None else example.provenance.licence
    licence = "licence unknown" if licence == "unknown" else licence
    about = " · ".join(filter(None, (example.id, example.task, example.language, licence)))
    return Card(card_image(*example.images), example.id, tuple(texts), caption=about)
