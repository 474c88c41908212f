"""VQAv2 as its authors publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks import vqav2
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_a_question_finds_its_ten_answers_by_id(examples: Examples) -> None:
    row = examples("vqav2")["4580001"]
    assert row.references == ("red", "red", "Red", "the red", "dark red", "", "blue", "blue", "pink", "maroon")
    assert row.images[0].name == "COCO_val2014_000000000458.jpg"
    assert row.group == "458"
    assert row.messages[0].text == "What is number 1?\nAnswer in one or two words."


def test_the_papers_prompt_is_mblips(examples: Examples) -> None:
    text = examples("vqav2", prompt_set="paper")["4590000"].messages[0].text
    assert text == "Question: What is number 2? Short answer in English:"


def test_the_small_split_is_the_beginning_of_the_file(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vqav2.SPLITS["val-5000"] == 5000
    monkeypatch.setitem(vqav2.SPLITS, "val-5000", 2)
    assert set(examples("vqav2", split="val-5000")) == {"4580000", "4580001"}
    assert len(examples("vqav2", split="val")) == 3


def test_a_question_without_answers_is_said_with_its_place(root: Path) -> None:
    file = root / "vqav2" / vqav2.ANSWERS
    file.write_text(file.read_text(encoding="utf-8").replace('"question_id": 4580001', '"question_id": 7'), "utf-8")
    with pytest.raises(EvaluationError, match=r"questions.json, line 1, row 2, field `question_id`: is 4580001, which"):
        BENCHMARKS.get("vqav2").open(root).examples("eng_Latn", split="val", prompt_set="native", limit=None)


def test_without_the_annotations_nothing_is_opened(root: Path) -> None:
    (root / "vqav2" / vqav2.ANSWERS).unlink()
    with pytest.raises(EvaluationError, match=f"has no {vqav2.ANSWERS}"):
        BENCHMARKS.get("vqav2").open(root)


def test_where_all_agree_nothing_is_normalised(scores: Scores) -> None:
    # 4580000: ten times "Yes."; 4580001: "red" was said by four once articles and case are gone; 4590000: "2" by seven
    found = scores("vqav2", {"4580000": "yes", "4580001": "Red!", "4590000": "Two."})["vqa", "vqa-accuracy"]
    four_of_ten = (4 * 1.0 + 6 * 1.0) / 10
    assert found.value == pytest.approx((0 + four_of_ten + 1) / 3)
    agreed = scores("vqav2", {"4580000": "Yes.", "4580001": "pink", "4590000": "three"})["vqa", "vqa-accuracy"]
    once_of_ten = 9 / 10 / 3
    three_of_ten = (3 * 2 / 3 + 7 * 1.0) / 10
    assert agreed.value == pytest.approx((1 + once_of_ten + three_of_ten) / 3)
