"""VQA's soft accuracy, GQA's accuracy and mBLIP's matches against what the official code gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.gqa import is_gqa_match, is_llava_gqa_match
from visiglot.evaluate.metrics.relaxed import (
    cleaned,
    is_maxm_match,
    is_mblip_exact,
    is_mblip_relaxed,
    mblip_vqa_accuracy,
)
from visiglot.evaluate.metrics.vqa import normalise, one_line, vqa_accuracy

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "vqa.json").read_text(encoding="utf-8"))


def test_normalised_texts_are_the_official_scripts() -> None:
    found = [[text, normalise(one_line(text)), cleaned(text)] for text, _, _ in GOLDEN["normalised"]]
    assert found == GOLDEN["normalised"]


def test_accuracies_are_the_official_scripts_and_mblips() -> None:
    golds = GOLDEN["gold answers"]
    for answer, place, official, mblip in GOLDEN["accuracy"]:
        assert vqa_accuracy(answer, golds[place]) == pytest.approx(official, abs=1e-12), (answer, golds[place])
        assert mblip_vqa_accuracy(answer, golds[place]) == pytest.approx(mblip, abs=1e-12), (answer, golds[place])


def test_mblips_strict_and_relaxed_matches_are_its_own() -> None:
    found = [
        [answer, gold, is_mblip_exact(answer, [gold]), is_mblip_relaxed(answer, [gold])]
        for answer, gold, _, _ in GOLDEN["matches"]
    ]
    assert found == GOLDEN["matches"]


def test_nothing_is_normalised_where_all_people_agree() -> None:
    assert vqa_accuracy("Yes.", ["yes"] * 10) == 0.0
    assert vqa_accuracy("Yes.", ["yes"] * 9 + ["no"]) == 1.0
    assert vqa_accuracy("the cat", ["the cat"] * 10) == 1.0


def test_two_people_of_ten_make_six_tenths() -> None:
    assert vqa_accuracy("no", ["yes"] * 8 + ["no"] * 2) == pytest.approx(0.6)  # GT-Vision-Lab/VQA#1


def test_the_relaxed_match_keeps_its_flaw_under_its_own_name() -> None:
    assert is_mblip_relaxed("casino", ["no"])
    assert not is_mblip_exact("casino", ["no"])


def test_soft_accuracy_refuses_a_single_reference() -> None:
    with pytest.raises(EvaluationError, match="one reference"):
        METRICS.get("vqa-accuracy").measure([row("1", "cat", "cat")], "eng_Latn")


@pytest.mark.parametrize(
    ("answer", "gqa", "llava", "maxm"),
    [
        ("yes", True, True, True),
        ("Yes", False, True, True),
        ("yes.", False, True, False),
        (" yes", False, False, True),
        ("no", False, False, False),
    ],
)
def test_exact_matches_differ_in_what_is_done_first(answer: str, gqa: bool, llava: bool, maxm: bool) -> None:
    assert is_gqa_match(answer, ["yes"]) is gqa
    assert is_llava_gqa_match(answer, ["yes"]) is llava
    assert is_maxm_match(answer, ["maybe", "yes"]) is maxm


def test_a_metrics_value_is_the_mean_of_its_rows() -> None:
    rows = [row("1", "yes", *["yes"] * 10), row("2", "no", *["yes"] * 8, "no", "no")]
    metric = METRICS.get("vqa-accuracy")
    assert metric.reduce(metric.measure(rows, "eng_Latn").values.sum(axis=0)) == pytest.approx(0.8)
