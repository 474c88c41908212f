"""CHAIR against the official counting of words, on synonyms written for the test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.chair import measure, objects_in, read_synonyms, singular
from visiglot.types import Prediction

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "chair.json").read_text(encoding="utf-8"))
NAMES = read_synonyms(GOLDEN["synonyms"][0])


@pytest.fixture
def synonyms(tmp_path: Path) -> str:
    path = tmp_path / "synonyms.txt"
    path.write_text(GOLDEN["synonyms"][0], encoding="utf-8")
    return str(path)


def judged(id: str, caption: str, boxes: list[str], gold: list[str], synonyms: str) -> Prediction:
    facts = {"objects": ", ".join(boxes), "synonyms": synonyms}
    return replace(row(id, caption), references=tuple(gold) or ("nothing",), facts=facts)


def test_named_objects_are_the_official_scripts() -> None:
    assert [[caption, objects_in(caption, NAMES)] for caption, _ in GOLDEN["named"]] == GOLDEN["named"]


def test_counts_are_the_official_scripts(synonyms: str) -> None:
    cases = GOLDEN["judged"]
    rows = [judged(str(n), caption, boxes, gold, synonyms) for n, (caption, boxes, gold, _, _) in enumerate(cases)]
    found = measure(rows, "eng_Latn").values
    assert found[:, :2].astype(int).tolist() == [[wrong, named] for _, _, _, wrong, named in cases]
    wrong, named = sum(case[3] for case in cases), sum(case[4] for case in cases)
    sums = found.sum(axis=0)
    assert METRICS.get("chair-i").reduce(sums) == pytest.approx(wrong / named)
    assert METRICS.get("chair-s").reduce(sums) == pytest.approx(sum(case[3] > 0 for case in cases) / len(cases))


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("buses", "bus"),
        ("bus", "bu"),
        ("canoes", "cano"),
        ("ties", "ty"),
        ("policemen", "policeman"),
        ("knives", "knife"),
        ("scissors", "scissors"),
        ("people", "person"),
        ("benches", "bench"),
        ("calves", "calf"),
    ],
)
def test_singulars_have_the_slips_of_the_original(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_a_synonym_behind_two_spaces_is_never_met() -> None:
    assert NAMES[" motor bike"] == "motorcycle"
    assert objects_in("a motor bike", NAMES) == []


def test_a_train_track_is_no_train_and_a_byte_order_mark_no_part_of_a_name(tmp_path: Path) -> None:
    marked = tmp_path / "synonyms.txt"
    marked.write_text(GOLDEN["synonyms"][0], encoding="utf-8-sig")
    rows = [judged("1", "a woman beside train tracks", ["person"], [], str(marked))]
    assert measure(rows, "eng_Latn").values.tolist() == [[0, 1, 0, 1]]


def test_what_a_gold_caption_names_is_there(synonyms: str) -> None:
    rows = [judged("1", "a puppy on a sofa", [], ["A dog.", "My couch"], synonyms)]
    assert measure(rows, "eng_Latn").values.tolist() == [[0, 2, 0, 1]]


def test_captions_that_name_nothing_have_no_share_of_wrong_objects(synonyms: str) -> None:
    sums = measure([judged("1", "a sunset", [], [], synonyms)], "eng_Latn").values.sum(axis=0)
    assert METRICS.get("chair-i").reduce(sums) != METRICS.get("chair-i").reduce(sums)
    assert METRICS.get("chair-s").reduce(sums) == 0.0


def test_chair_refuses_other_languages_missing_facts_and_unknown_boxes(synonyms: str, tmp_path: Path) -> None:
    good = judged("1", "a cat", ["cat"], [], synonyms)
    with pytest.raises(EvaluationError, match="its words are English"):
        measure([good], "deu_Latn")
    with pytest.raises(EvaluationError, match="lacks the facts objects, synonyms"):
        measure([replace(good, facts={})], "eng_Latn")
    with pytest.raises(EvaluationError, match="no line for 'zebra'"):
        measure([judged("2", "a cat", ["zebra"], [], synonyms)], "eng_Latn")
    with pytest.raises(EvaluationError, match="can't be read"):
        measure([judged("3", "a cat", ["cat"], [], str(tmp_path / "none.txt"))], "eng_Latn")
