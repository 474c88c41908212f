"""MME as its release has it and as it is on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.drawn import draw
from tests.packed_data import write_parquet
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_both_kinds_of_folders_are_read(examples: Examples) -> None:
    rows = examples("mme")
    assert len(rows) == 8
    assert {row.facts["category"]: row.task for row in rows.values()} == {
        "existence": "perception",
        "artwork": "perception",
        "code_reasoning": "cognition",
    }
    second = rows["artwork/10002.jpg/2"]
    assert second.messages[0].text == "Is there a train 3? Answer yes or no."
    assert second.references == ("no",)
    assert second.images[0].path is not None
    assert second.images[0].path.parent.name == "images"


def test_the_papers_prompt_is_the_line(examples: Examples) -> None:
    row = examples("mme", prompt_set="paper")["existence/0001.png/1"]
    assert row.messages[0].text == "Is there a square 0? Please answer yes or no."


def test_the_hubs_files_say_the_same(examples: Examples, tmp_path: Path) -> None:
    rows = [
        {
            "question_id": row.id.rpartition("/")[0],
            "image": {"bytes": draw("red", "square"), "path": None},
            "question": f"{row.facts['question']} {row.facts['instruction']}",
            "answer": row.facts["label"].capitalize(),
            "category": row.facts["category"],
        }
        for row in examples("mme").values()
    ]
    write_parquet(tmp_path / "hub/mme/data/test-00000-of-00001-a25dbe3b44c4fda6.parquet", rows)
    data = BENCHMARKS.get("mme").open(tmp_path / "hub")
    packed = {row.id: row for row in data.examples("eng_Latn", split="test", prompt_set="native", limit=None)}
    for id, row in examples("mme").items():
        assert (packed[id].messages, packed[id].references, packed[id].task) == (row.messages, row.references, row.task)


def test_a_limit_never_parts_a_pictures_questions(root: Path) -> None:
    data = BENCHMARKS.get("mme").open(root)
    rows = list(data.examples("eng_Latn", split="test", prompt_set="native", limit=5))
    assert [row.group for row in rows[::2]] == [row.group for row in rows[1::2]]
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Is it?\tPerhaps\nIs it not?\tNo\n", r"0001.txt, line 1, field `answer`: must be Yes or No, found 'Perhaps'"),
        (
            "Is it?\tYes\n",
            r"0001.txt, line 1, field `question`: is one of 1 about existence/0001.png; there must be two",
        ),
        ("Is it? Yes\nIs it not?\tNo\n", r"0001.txt, line 1, field `question`: is empty|field `answer`: is missing"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_place(root: Path, text: str, said: str) -> None:
    (root / "mme/existence/0001.txt").write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match=said):
        BENCHMARKS.get("mme").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_a_question_without_its_picture_is_said(root: Path) -> None:
    (root / "mme/existence/0001.png").unlink()
    with pytest.raises(EvaluationError, match=r"there is no picture 0001 \(.jpg, .png, .jpeg\)"):
        BENCHMARKS.get("mme").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_one_wrong_answer_costs_half_a_pictures_accuracy_and_its_plus(scores: Scores, tmp_path: Path) -> None:
    """Existence has two pictures: 3 of 4 answers right, 1 of 2 pictures; artwork is all right."""
    found = scores("mme", {"existence/0002.png/2": "yes"})
    assert found["perception", "mme-score"].value == 75 + 50 + 200
    assert found["perception", "mme-accuracy"].value == 5 / 6
    assert found["perception", "mme-accuracy-plus"].value == 2 / 3
    assert found["cognition", "mme-score"].value == 200
    assert found["perception", "mme-score-official"].value == 325
    parts = [json.loads(line) for line in (tmp_path / "evaluation/parts.jsonl").read_text("utf-8").splitlines()]
    assert {one["part"]: (one["metric"], one["value"], one["n"]) for one in parts} == {
        "existence": ("mme-score", 125, 2),
        "artwork": ("mme-score", 200, 1),
        "code_reasoning": ("mme-score", 200, 1),
    }


def test_an_answer_that_says_neither_is_wrong(scores: Scores) -> None:
    found = scores("mme", {"code_reasoning/0020.png/1": "Perhaps."})
    assert found["cognition", "mme-score"].value == 50
    assert found["cognition", "yes-no-failures"].value == 0.5
