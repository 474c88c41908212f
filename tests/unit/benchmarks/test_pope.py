"""POPE as its repository publishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_each_way_of_choosing_is_a_task(examples: Examples) -> None:
    rows = examples("pope")
    assert len(rows) == 24
    assert {row.task for row in rows.values()} == {"random", "popular", "adversarial"}
    assert rows["popular/3"].messages[0].text == "Is there a popular 3 in the image? Answer yes or no."


def test_the_papers_prompt_is_the_question(examples: Examples) -> None:
    assert examples("pope", prompt_set="paper")["random/2"].messages[0].text == "Is there a random 2 in the image?"


def test_a_limit_takes_as_many_of_each_task(root: Path) -> None:
    data = BENCHMARKS.get("pope").open(root)
    rows = list(data.examples("eng_Latn", split="test", prompt_set="native", limit=7))
    assert sorted(row.task for row in rows) == ["adversarial", "adversarial", "popular", "popular", "random", "random"]


def test_a_missing_file_is_said(root: Path) -> None:
    (root / "pope/coco_pope_popular.json").unlink()
    with pytest.raises(EvaluationError, match=r"has no coco_pope_popular.json"):
        BENCHMARKS.get("pope").open(root)


def test_a_label_of_another_kind_is_said_with_its_place(root: Path) -> None:
    file = root / "pope/coco_pope_random.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"yes"', '"Yes"', 1), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"random.json, line 1, field `label`: must be yes or no, found 'Yes'"):
        BENCHMARKS.get("pope").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_one_thing_seen_that_is_not_there(scores: Scores) -> None:
    found = scores("pope", {"random/2": "Yes, there is."})
    assert found["random", "pope-accuracy"].value == 7 / 8
    assert found["random", "pope-precision"].value == 4 / 5
    assert found["random", "pope-recall"].value == 1
    assert found["random", "pope-f1"].value == pytest.approx(8 / 9)
    assert found["random", "pope-yes-ratio"].value == 5 / 8
    assert found["popular", "pope-accuracy"].value == 1
