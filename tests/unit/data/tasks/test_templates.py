from __future__ import annotations

from visiglot.data.tasks.templates import Templates, fields_of, fill, fill_prompt
from visiglot.types import ImageSlot


def test_what_is_filled_in_is_never_looked_at_again() -> None:
    values = {"caption": "{question} {image} {nothing}", "question": "why?"}
    assert fill("{caption} {question}", values) == "{question} {image} {nothing} why?"
    assert fill_prompt("Say: {caption}", values, 1) == ("Say: {question} {image} {nothing}", ImageSlot(0))


def test_pictures_stand_where_the_template_says() -> None:
    values = {"question": "why?"}
    assert fill_prompt("Look: {image} {question}", values, 1) == ("Look:", ImageSlot(0), " why?")
    assert fill_prompt("1: {image} 2: {image} {question}", values, 2) == (
        "1:", ImageSlot(0), " 2:", ImageSlot(1), " why?",
    )  # fmt: skip


def test_one_place_serves_all_pictures() -> None:
    assert fill_prompt("{image} {question}", {"question": "q"}, 2) == (ImageSlot(0), ImageSlot(1), " q")


def test_where_no_place_is_said_one_picture_stands_last_and_several_first() -> None:
    assert fill_prompt("{question}", {"question": "q"}, 1) == ("q", ImageSlot(0))
    assert fill_prompt("{question}", {"question": "q"}, 2) == (ImageSlot(0), ImageSlot(1), "q")


def test_an_example_without_a_picture_has_the_words_alone() -> None:
    assert fill_prompt("{image} {question}", {"question": "q"}, 0) == ("q",)
    assert fill_prompt("{question}", {"question": "q"}, 0) == ("q",)


def test_sets_of_prompts() -> None:
    words = Templates(("e1", "e2"), {"deu_Latn": ("d",)})
    assert words.prompts("deu_Latn", "english") == ("e1", "e2")
    assert words.prompts("deu_Latn", "native") == ("d",)
    assert words.prompts("deu_Latn", "both") == ("e1", "e2", "d")
    assert words.prompts("swh_Latn", "native") == ()
    assert words.prompts("swh_Latn", "both") == ("e1", "e2")
    for which in ("english", "native", "both"):
        assert words.prompts("eng_Latn", which) == ("e1", "e2")  # type: ignore[arg-type]


def test_fields() -> None:
    assert fields_of("{image} a {question} {no_field} {}") == {"image", "question"}
