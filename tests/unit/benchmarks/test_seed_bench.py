"""SEED-Bench as its repository publishes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_questions_about_videos_are_left_out(examples: Examples) -> None:
    rows = examples("seed-bench")
    assert sorted(rows) == ["101660", "101661", "101662"]
    row = rows["101661"]
    assert row.messages[0].text == (
        "How many things are in picture 1?\nA. one 1\nB. two 1\nC. ten 1\nD. six 1\n"
        "Answer with the letter of the right option only."
    )
    assert row.references == ("B",)
    assert row.facts["category"] == "Instances Counting"
    assert rows["101660"].images == row.images


def test_the_papers_prompt_is_llavas(examples: Examples) -> None:
    text = examples("seed-bench", prompt_set="paper")["101660"].messages[0].text
    assert text.endswith("D. six 0\nAnswer with the option's letter from the given choices directly.")


def test_accuracy_is_told_by_kind(scores: Scores, tmp_path: Path) -> None:
    found = scores("seed-bench", {"101662": "A. one 2"})
    assert found["choice", "choice-accuracy"].value == pytest.approx(2 / 3)
    parts = [json.loads(line) for line in (tmp_path / "evaluation/parts.jsonl").read_text("utf-8").splitlines()]
    assert {one["part"]: (one["value"], one["n"]) for one in parts} == {
        "Instances Counting": (0.5, 2),
        "Scene Understanding": (1, 1),
    }


def test_an_unknown_kind_is_said_with_its_place(root: Path) -> None:
    file = root / "seed-bench/SEED-Bench.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"question_type_id": 5', '"question_type_id": 15', 1))
    with pytest.raises(EvaluationError, match=r"field `question_type_id`: must be one of 1 to 9 where there is a pict"):
        BENCHMARKS.get("seed-bench").open(root).examples("eng_Latn", split="image", prompt_set="native", limit=None)
