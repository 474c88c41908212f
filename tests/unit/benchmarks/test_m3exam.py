"""M3Exam as its authors publish it, its options lettered anew and rotated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores
from tests.unit.evaluate.conftest import Scripted

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.types import ImageSlot


def test_numbered_options_get_letters_and_the_answer_too(examples: Examples) -> None:
    row = examples("m3exam", prompt_set="paper")["0"]
    assert row.messages[0].content == (
        "Read the text.\nTwo lines.\n",
        ImageSlot(0),
        " What is drawn?\nOptions:\nA. a bar\nB. a circle\nC. nothing\nD. a star\n"
        " Answer with the option’s letter from the given choices directly.",
    )
    assert row.references == ("B",)
    assert row.images[0].name == "images-english/image-1.jpg"


def test_pictures_stand_where_the_text_has_them(examples: Examples) -> None:
    row = examples("m3exam")["1"]
    assert row.messages[0].content[:4] == ("Compare ", ImageSlot(0), " with ", ImageSlot(1))
    assert [image.name for image in row.images] == ["images-english/image-2.jpg", "images-english/image-1.jpg"]


def test_options_may_be_pictures(examples: Examples) -> None:
    row = examples("m3exam", "tha_Thai")["0"]
    assert [part for part in row.messages[0].content if isinstance(part, ImageSlot)] == [
        ImageSlot(0),
        ImageSlot(1),
        ImageSlot(2),
    ]
    assert json.loads(row.facts["options"]) == ["", "", ""]
    assert (row.references, row.choices) == (("B",), ("A", "B", "C"))


def test_a_cycle_has_every_rotation_with_the_same_right_option(examples: Examples) -> None:
    rows = examples("m3exam", split="cycle")
    circle = [row for row in rows.values() if row.group == "0"]
    assert len(circle) == 4
    assert {row.facts["index_rows"] for row in circle} == {"4"}
    assert {row.references[0] for row in circle} == set("ABCD")
    assert {json.loads(row.facts["options"])["ABCD".index(row.references[0])] for row in circle} == {"a circle"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"(2) a circle"', '"a circle"', r"field `options\[1\]`: must begin with a letter or number and its stop"),
        ('"answer_text": "2"', '"answer_text": "5"', r"field `answer_text`: must be one of 1, 2, 3, 4, found '5'"),
        ('"(2) a circle"', '"(1) a circle"', r"field `options`: must be two or more, each with a label of its own"),
    ],
)
def test_a_bad_question_is_said_with_its_place(root: Path, old: str, new: str, said: str) -> None:
    file = root / "m3exam/data/multimodal-questions/english-questions-image.json"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(EvaluationError, match=rf"english-questions-image.json, line 2, {said}"):
        BENCHMARKS.get("m3exam").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_one_of_two_questions(scores: Scores) -> None:
    found = scores("m3exam", {"0": "The answer is A."})
    assert found["choice", "choice-accuracy"].value == 0.5
    assert found["choice", "chance"].value == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert found["choice", "choices"].value == 3


def test_a_cycle_counts_only_whole(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    wrong = Scripted(wrong={"2000000": "A"})
    collect_predictions(wrong, BENCHMARKS.get("m3exam"), ["eng_Latn"], out, resume=False, root=root, split="cycle")
    found = {score.metric: score for score in score_predictions(out)}
    assert (found["circular-accuracy"].value, found["circular-accuracy"].n) == (0.5, 2)
    assert found["choice-accuracy"].value == pytest.approx(5 / 6)
    assert found["chance"].value == pytest.approx((4 / 4 + 2 / 2) / 6)
    assert found["choices"].value == pytest.approx((4 * 4 + 2 * 2) / 6)
