"""The words that COCO's caption metrics see (tests/golden/ptb.json says how they were made)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visiglot.evaluate.segmentation import ptb

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "ptb.json").read_text(encoding="utf-8"))["lines"]


def words(text: str) -> list[str]:
    return ptb.tokenise([text], "eng_Latn")[0]


@pytest.mark.parametrize(("text", "expected"), GOLDEN)
def test_words_equal_those_of_the_stanford_tokeniser(text: str, expected: str) -> None:
    assert words(text) == expected.split()


def test_plain_captions_and_the_rules_agree() -> None:
    plain = "A man, a plan and the dog cannot go on"
    expected = ["a", "man", "a", "plan", "and", "the", "dog", "can", "not", "go", "on"]
    assert words(plain) == words(f"{plain} $")[:-1] == expected


@pytest.mark.parametrize("end", [".", " .", "?", "!", ""])
def test_the_mark_that_ends_a_caption_is_dropped(end: str) -> None:
    assert words(f"two dogs run{end}") == ["two", "dogs", "run"]


def test_an_abbreviation_that_ends_a_caption_keeps_its_full_stop() -> None:
    assert words("cats, dogs, etc.") == ["cats", "dogs", "etc."]
    assert words("point b.") == ["point", "b."]


@pytest.mark.parametrize("gap", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85 ", "\u2028", "\u2029", "\t", "\u3000"])
def test_every_line_break_is_a_space(gap: str) -> None:
    assert words(f"a red{gap}car") == ["a", "red", "car"]


def test_characters_that_the_jar_deletes_part_words() -> None:
    assert words("red😀car 𠀀 x") == ["red", "car", "x"]


def test_brackets_stay_and_quotes_go_as_in_pycocoevalcap() -> None:
    assert words("(a) [b] “c”") == ["-lrb-", "a", "-rrb-", "-lsb-", "b", "-rsb-", "c"]


@pytest.mark.parametrize("unit", ["a-", "a,", "a.", "a'", "1,", "a/", "<a ", "a@", "-a", "😀", "'", "a_1-"])
def test_a_text_that_repeats_itself_is_no_trap(unit: str) -> None:
    """With a rule that backtracks through all ways to read the text, this would not end."""
    assert isinstance(words(unit * 500), list)
