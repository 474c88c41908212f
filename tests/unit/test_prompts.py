"""Where pictures stand in a prompt."""

from __future__ import annotations

import pytest

from visiglot.errors import PromptError
from visiglot.prompts import with_images
from visiglot.types import ImageSlot

A, B = ImageSlot(0), ImageSlot(1)


@pytest.mark.parametrize(
    ("words", "count", "first", "expected"),
    [
        ("What?", 1, False, ("What?", A)),
        ("What?", 1, True, (A, "What?")),
        ("What?", 2, False, (A, B, "What?")),
        ("What?", 2, True, (A, B, "What?")),
        ("What?", 0, True, ("What?",)),
        ("", 1, True, (A,)),
        ("See {image} here", 1, True, ("See", A, " here")),
        ("Left: {image} Right: {image} Same?", 2, False, ("Left:", A, " Right:", B, " Same?")),
        ("{image}{image}\n", 2, False, (A, B, "\n")),
    ],
)
def test_pictures_stand_where_the_words_or_the_model_say(
    words: str, count: int, first: bool, expected: tuple[object, ...]
) -> None:
    assert with_images(words, count, first=first) == expected


@pytest.mark.parametrize(("words", "count"), [("{image}{image}", 1), ("{image}", 2), ("{image}", 0)])
def test_another_number_of_places_than_of_pictures_is_refused_with_both(words: str, count: int) -> None:
    with pytest.raises(PromptError, match=rf"{words.count('{image}')} times, and {count} picture"):
        with_images(words, count)
