"""Where pictures stand in a prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from visiglot.errors import PromptError
from visiglot.prompts import LAST, Placing, placed, with_images
from visiglot.types import Example, ImageRef, ImageSlot, Message

A, B = ImageSlot(0), ImageSlot(1)
FIRST = Placing(first=True)
LLAVA = Placing(first=True, gap="\n", keeps_space=True)
PICTURES = (ImageRef("a", data=b""), ImageRef("b", data=b""))


@pytest.mark.parametrize(
    ("words", "count", "placing", "expected"),
    [
        ("What?", 1, LAST, ("What?", A)),
        ("What? ", 1, LAST, ("What?", A)),
        ("What?", 1, FIRST, (A, "What?")),
        ("What?", 2, LAST, (A, B, "What?")),
        ("What?", 2, FIRST, (A, B, "What?")),
        ("What?", 0, FIRST, ("What?",)),
        ("", 1, FIRST, (A,)),
        ("See {image} here", 1, FIRST, ("See", A, " here")),
        ("Left: {image} Right: {image} Same?", 2, LAST, ("Left:", A, " Right:", B, " Same?")),
        ("{image}{image}\n", 2, LAST, (A, B, "\n")),
        ("What?", 1, LLAVA, (A, "\nWhat?")),
        ("What?", 2, LLAVA, (A, "\n", B, "\nWhat?")),
        ("What?", 0, LLAVA, ("What?",)),
        ("", 1, LLAVA, (A, "\n")),
        ("{image}What?", 1, LLAVA, (A, "What?")),
        ("See {image} here", 1, LLAVA, ("See ", A, " here")),
    ],
)
def test_pictures_stand_where_the_words_or_the_model_say(
    words: str, count: int, placing: Placing, expected: tuple[object, ...]
) -> None:
    assert with_images(words, count, placing) == expected


@pytest.mark.parametrize(("words", "count"), [("{image}{image}", 1), ("{image}", 2), ("{image}", 0)])
def test_another_number_of_places_than_of_pictures_is_refused_with_both(words: str, count: int) -> None:
    with pytest.raises(PromptError, match=rf"{words.count('{image}')} times, and {count} picture"):
        with_images(words, count)


@pytest.mark.parametrize(
    ("content", "placing", "expected"),
    [
        (("What?", A), LAST, ("What?", A)),
        (("What?", A), FIRST, (A, "What?")),
        (("What?", A), LLAVA, (A, "\nWhat?")),
        (("Same", "?", B, A), LLAVA, (B, "\n", A, "\nSame?")),
        ((A, B), LLAVA, (A, "\n", B, "\n")),
        ((A, "What?"), LLAVA, (A, "\nWhat?")),
        ((A, "What?"), FIRST, (A, "What?")),
        ((A, "What? "), LAST, ("What?", A)),
        ((A, "What?"), replace(LAST, keeps_space=True), ("What?", A)),
        ((A, B, "Same?"), LAST, (A, B, "Same?")),
        (("Same?", A, B), LAST, (A, B, "Same?")),
        ((A,), LAST, (A,)),
        (("See", A, " here"), LLAVA, ("See", A, " here")),
        ((A, "Same?", B), LLAVA, (A, "Same?", B)),
        (("What?",), LLAVA, ("What?",)),
    ],
)
def test_pictures_at_an_end_of_a_turn_move_where_the_model_reads_them_and_no_others_do(
    content: tuple[str | ImageSlot, ...], placing: Placing, expected: tuple[object, ...]
) -> None:
    turns = (Message("system", ("Be brief.",)), Message("user", content), Message("assistant", ("a dog", A)))
    example = Example("x", turns, "eng_Latn", PICTURES, ("dog",), task="caption")
    found = placed(example, placing)
    assert found.messages == (turns[0], Message("user", expected), turns[2])
    assert (found.id, found.images, found.references) == (example.id, example.images, example.references)


@pytest.mark.parametrize("placing", [LAST, FIRST, LLAVA, replace(LAST, keeps_space=True)], ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_a_question_of_a_source_is_trained_as_it_is_asked(placing: Placing, count: int) -> None:
    slots = tuple(ImageSlot(n) for n in range(count))
    for content in ((*slots, "What is it?"), ("What is it? ", *slots)):
        example = Example(
            "x", (Message("user", content), Message("assistant", ("a dog",))), "eng_Latn", PICTURES[:count]
        )
        assert placed(example, placing).messages[0].content == with_images(example.messages[0].text, count, placing)
