"""xFlickr&CO as IGLUE publishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_pictures_of_both_sets_lie_in_one_folder(examples: Examples) -> None:
    rows = examples("xflickrco", "deu_Latn")
    assert rows["1007129816"].images[0].name == "1007129816.jpg"
    assert rows["460251"].images[0].name == "COCO_val2014_000000460251.jpg"
    assert rows["460251"].references == ("de: caption 2 of four",)
    assert rows["460251"].messages[0].text == "Was ist auf diesem Bild zu sehen? Antworte mit einem Satz."


def test_the_papers_prompt_names_the_language_in_english(examples: Examples) -> None:
    text = examples("xflickrco", "jpn_Jpan", "paper")["460251"].messages[0].text
    assert text == "Caption in Japanese: "


def test_languages_are_in_one_order(examples: Examples) -> None:
    assert list(examples("xflickrco")) == list(examples("xflickrco", "jpn_Jpan"))


def test_a_caption_that_is_no_list_is_said_with_its_place(root: Path) -> None:
    file = root / "xflickrco/annotations/en/test.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('["en: caption 1 of four"]', '"one"'), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"test.jsonl, line 2, field `sentences`: must be a list"):
        BENCHMARKS.get("xflickrco").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_a_caption_without_a_word_in_common_lowers_the_mean(scores: Scores) -> None:
    found = scores("xflickrco", {"460251": "ganz anders"}, "deu_Latn")["caption", "rouge-l-visiglot"]
    assert (found.value, found.n) == (pytest.approx(3 / 4), 4)
