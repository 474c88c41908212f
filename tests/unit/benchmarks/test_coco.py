"""COCO captions in Karpathy's split, and CHAIR on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks import chair
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_a_splits_pictures_have_all_their_captions(examples: Examples) -> None:
    assert set(examples("coco")) == {"301", "303"}
    assert set(examples("coco", split="val")) == {"302", "305"}
    row = examples("coco")["303"]
    assert row.references == ("A man sees thing 2.", "Somebody looks at thing 2")
    assert row.images[0].name == "COCO_val2014_000000000303.jpg"


def test_the_papers_prompt_ends_in_a_space(examples: Examples) -> None:
    assert {row.messages[0].text for row in examples("coco", prompt_set="paper").values()} == {"Caption in English: "}


def test_a_picture_without_captions_is_said_with_its_place(root: Path) -> None:
    file = root / "coco/dataset_coco.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    whole["images"][2]["sentences"] = []
    file.write_text(json.dumps(whole, indent=0), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"dataset_coco.json, line \d+, field `sentences`: must be a list with"):
        BENCHMARKS.get("coco").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_captions_that_are_references_have_all_their_words(scores: Scores) -> None:
    found = scores("coco", {"301": "a man sees thing 0"})
    assert found["caption", "bleu4-ptb"].value == pytest.approx(1.0)
    assert found["caption", "rouge-l-ptb"].value == pytest.approx(1.0)


def test_a_picture_is_captioned_and_described(examples: Examples) -> None:
    rows = examples("chair", prompt_set="paper")
    assert set(rows) == {"short/302", "short/305", "detailed/302", "detailed/305"}
    assert rows["short/302"].messages[0].text == "Caption in English:"
    assert rows["detailed/302"].messages[0].text.endswith("with as much detail as possible.")


def test_the_objects_are_those_of_the_boxes_each_once(examples: Examples, root: Path) -> None:
    rows = examples("chair")
    assert rows["short/302"].facts["objects"] == "dog, person"
    assert rows["detailed/305"].facts["objects"] == ""
    assert rows["short/302"].facts["synonyms"] == str(root / "chair/synonyms.txt")


def test_the_first_split_is_the_beginning_of_the_validation(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chair.SPLITS["val-1000"] == ("val", 1000)
    monkeypatch.setitem(chair.SPLITS, "val-1000", ("val", 1))
    assert set(examples("chair")) == {"short/302", "detailed/302"}


def test_a_limit_asks_for_both_texts_of_a_picture(root: Path) -> None:
    data = BENCHMARKS.get("chair").open(root)
    rows = list(data.examples("eng_Latn", split="test", prompt_set="native", limit=3))
    assert sorted(row.task for row in rows) == ["detailed", "short"]
    assert len({row.group for row in rows}) == 1


def test_a_missing_file_of_three_is_said(root: Path) -> None:
    (root / "chair/synonyms.txt").unlink()
    with pytest.raises(EvaluationError, match=r"has no synonyms.txt"):
        BENCHMARKS.get("chair").open(root)


def test_a_box_of_an_unknown_category_is_said_with_its_place(root: Path) -> None:
    file = root / "chair" / chair.BOXES
    file.write_text(file.read_text(encoding="utf-8").replace('"category_id": 1,', '"category_id": 99,'), "utf-8")
    with pytest.raises(EvaluationError, match=r"field `category_id`: is 99, which isn't among the file's categories"):
        BENCHMARKS.get("chair").open(root).examples("eng_Latn", split="val-1000", prompt_set="native", limit=None)


def test_what_is_named_and_is_not_there_is_counted(scores: Scores) -> None:
    # 302 has a dog and a person; the captions of 305 name a man
    found = scores(
        "chair",
        {
            "short/302": "A puppy and a kitten.",
            "short/305": "A woman.",
            "detailed/302": "A man with two dogs and a bottle, and another bottle.",
            "detailed/305": "Nothing to see.",
        },
    )
    assert found["short", "chair-i"].value == pytest.approx(1 / 3)
    assert found["short", "chair-s"].value == pytest.approx(1 / 2)
    assert found["detailed", "chair-i"].value == pytest.approx(2 / 4)
    assert found["detailed", "chair-s"].value == pytest.approx(1 / 2)
