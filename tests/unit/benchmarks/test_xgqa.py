"""xGQA as IGLUE publishes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_the_question_is_in_the_language_and_the_answer_in_english(examples: Examples) -> None:
    row = examples("xgqa", "deu_Latn")["202"]
    assert row.messages[0].text == "Welche Farbe hat es?\nAntworte auf Englisch mit einem oder zwei Wörtern."
    assert row.references == ("red",)
    assert row.images[0].name == "n102.jpg"
    assert row.group == "n102"


def test_the_papers_prompt_is_english_in_every_language(examples: Examples) -> None:
    texts = {row.messages[0].text for row in examples("xgqa", "zho_Hans", "paper").values()}
    assert "Question: 是什么颜色？ Short answer in English:" in texts
    assert all(text.startswith("Question: ") and text.endswith(" Short answer in English:") for text in texts)


def test_languages_whose_files_have_other_orders_give_one_order(examples: Examples) -> None:
    assert (
        list(examples("xgqa", "eng_Latn")) == list(examples("xgqa", "deu_Latn")) == list(examples("xgqa", "zho_Hans"))
    )


def test_the_whole_test_dev_is_a_split_of_its_own(examples: Examples) -> None:
    assert set(examples("xgqa", "deu_Latn", split="testdev")) == {"900"}
    assert examples("xgqa", "eng_Latn", split="testdev") == {}


def test_a_question_without_an_answer_is_said_with_file_line_and_field(root: Path) -> None:
    file = root / "xgqa/annotations/few_shot/en/test.json"
    file.write_text(json.dumps({"1": {"question": "What?", "imageId": "n101"}}, indent=1), encoding="utf-8")
    data = BENCHMARKS.get("xgqa").open(root)
    with pytest.raises(EvaluationError) as caught:
        data.examples("eng_Latn", split="test", prompt_set="native", limit=None)
    assert caught.value.message == f"{file}, line 2, field `answer`: is missing"
    assert "github.com/e-bug/iglue" in (caught.value.hint or "")


def test_without_pictures_it_says_which_folder_is_wanted(root: Path) -> None:
    (root / "xgqa/images").rename(root / "xgqa/pictures")
    with pytest.raises(EvaluationError, match="has no folder images"):
        BENCHMARKS.get("xgqa").open(root)


def test_three_of_four_answers_are_right_in_any_case_and_with_a_stop(scores: Scores) -> None:
    found = scores("xgqa", {"200": "Yes.", "201": "a square", "202": "blue"}, "deu_Latn")
    assert found["vqa", "mblip-exact"].value == 0.75
    assert found["vqa", "mblip-exact"].n == 4
