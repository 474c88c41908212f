"""XVNLI as IGLUE publishes it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks.xvnli import unlabelled
from visiglot.errors import EvaluationError, Notice
from visiglot.evaluate.benchmark import BENCHMARKS


def test_rows_without_a_gold_label_are_left_out_by_name_and_said(root: Path, examples: Examples) -> None:
    assert unlabelled(root / "xvnli/annotations/en/test.jsonl") == ("101.jpg#0r3",)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = examples("xvnli", "arb_Arab")
    assert len(rows) == 5
    assert "101.jpg#0r3" not in rows
    said = [str(one.message) for one in caught if issubclass(one.category, Notice)]
    assert said == ["xvnli, arb_Arab: 1 of 6 rows have no gold label and are left out (101.jpg#0r3)"]


def test_the_labels_are_words_of_the_prompt(examples: Examples) -> None:
    for code, prompt_set in (("eng_Latn", "native"), ("arb_Arab", "native"), ("arb_Arab", "paper")):
        rows = examples("xvnli", code, prompt_set)
        for row in rows.values():
            said = row.messages[0].text.casefold()
            assert len(row.choices) == 3
            assert all(choice in said for choice in row.choices)
        assert rows["100.jpg#0r0"].references == (row.choices[0],)
        assert rows["101.jpg#0r1"].references == (row.choices[1],)
        assert rows["100.jpg#0r2"].references == (row.choices[2],)


def test_the_picture_is_the_premise_and_no_one_is_told_it(examples: Examples) -> None:
    row = examples("xvnli")["101.jpg#0r1"]
    assert row.images[0].name == "101.jpg"
    assert "premise" not in row.messages[0].text
    assert '"There is a square 1."' in row.messages[0].text


def test_the_papers_prompt_is_mblips(examples: Examples) -> None:
    text = examples("xvnli", "eng_Latn", "paper")["100.jpg#0r0"].messages[0].text
    assert text == 'Is it guaranteed true that "There is a square 0."? Yes, no, or maybe? Answer in English:'


def test_an_unknown_label_is_said_with_its_place(root: Path) -> None:
    file = root / "xvnli/annotations/en/test.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("neutral", "neutrl", 1), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"test.jsonl, line 3, field `gold_label`: must be .*, found 'neutrl'"):
        BENCHMARKS.get("xvnli").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_four_of_five_labels_are_right(scores: Scores) -> None:
    found = scores("xvnli", {"100.jpg#0r0": "نعم.", "101.jpg#0r1": "نعم"}, "arb_Arab")
    assert found["entailment", "normalised-exact"].value == 0.8
    assert found["entailment", "normalised-exact"].n == 5
