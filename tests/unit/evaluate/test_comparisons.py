"""Comparisons between languages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.unit.evaluate.conftest import row

from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.comparisons import (
    KINDS,
    Asked,
    Comparison,
    all_right,
    asked,
    compare_languages,
    rank_deviation,
    rank_variance,
    relative_gain,
    right_rank,
    stability,
)
from visiglot.evaluate.metrics import METRICS, Statistics
from visiglot.evaluate.predictions import prediction_path, read_comparisons, write_comparisons, write_predictions
from visiglot.evaluate.score import CLASSES, score_predictions

THINGS = tuple(f"thing {number}" for number in range(40))
EN, DE, SW, RU, YO = "eng_Latn", "deu_Latn", "swh_Latn", "rus_Cyrl", "yor_Latn"


def right(count: int, of: Sequence[str] = THINGS) -> Statistics:
    """Answers about `of`, right about the first so many."""
    return Statistics(np.array([[float(place < count), 1.0] for place in range(len(of))]), tuple(of))


def compared(
    measured: Mapping[str, Statistics], metric: str = "exact", ranks: Mapping[str, Mapping[str, int]] | None = None
) -> dict[tuple[str, str], Comparison]:
    rows = {code: Asked(one.groups, one.groups, (ranks or {}).get(code, {})) for code, one in measured.items()}
    found = compare_languages("toy", "english", "caption", METRICS.get(metric), measured, rows, CLASSES)
    assert all(one.kind in KINDS for one in found)
    return {(one.kind, one.name): one for one in found}


def test_means_by_tier_and_script_count_languages_alike_and_leave_english_apart() -> None:
    found = compared({EN: right(40), DE: right(20), SW: right(10), YO: right(0, THINGS[:4]), RU: right(30)})
    assert found["script mean", "Latn"].value == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert found["script mean", "Latn"].languages == (DE, SW, YO)
    assert (found["script mean", "Latn"].n, found["script mean", "Latn"].things) == (84, 40)
    assert found["script mean", "Cyrl"].value == 0.75
    tiers = {name: one.languages for (kind, name), one in found.items() if kind == "tier mean"}
    assert tiers == {"5": (DE,), "2": (SW, YO), "4": (RU,)}
    assert all(one.low <= one.value <= one.high for one in found.values())


def test_the_gap_to_english_is_of_the_same_things() -> None:
    found = compared({EN: right(20), DE: right(20), SW: right(10)})
    for kind, alike, half, mean in (("English gap", 0, -0.25, -0.125), ("English ratio", 1, 0.5, 0.75)):
        assert (found[kind, DE].value, found[kind, DE].low, found[kind, DE].high) == (alike, alike, alike)
        assert found[kind, SW].value == half
        assert found[kind, SW].low < half < found[kind, SW].high
        assert found[kind, ""].value == pytest.approx(mean)
        assert found[kind, ""].languages == (EN, DE, SW)


def test_without_english_there_is_no_gap_and_over_nothing_no_ratio() -> None:
    assert not [key for key in compared({DE: right(20), SW: right(10)}) if key[0].startswith("English")]
    found = compared({EN: right(0), DE: right(20)})
    assert found["English gap", DE].value == 0.5
    assert math.isnan(found["English ratio", DE].value)
    assert math.isnan(found["English ratio", DE].low)


def test_relative_gain_and_stability_equal_those_counted_by_hand() -> None:
    values = np.array([[40.0, 60.0, 50.0], [10.0, 30.0, 50.0]])
    assert relative_gain(values) == pytest.approx(np.array([[-20, 20, 0], [-200 / 3, 0, 200 / 3]]), abs=1e-5)
    assert relative_gain(values, axis=0).mean(axis=1) == pytest.approx([(60 + 100 / 3 + 0) / 3, -(60 + 100 / 3) / 3])
    assert relative_gain(np.zeros((1, 3))) == pytest.approx(np.full((1, 3), -100)), "as the floor has it"
    assert stability(values) == pytest.approx([math.sqrt(200 / 3), math.sqrt(800 / 3)])
    found = compared({EN: right(20), DE: right(10), SW: right(0)})
    assert found["relative gain", EN].value == pytest.approx(100, rel=1e-4)
    assert found["relative gain", SW].value == pytest.approx(-100, rel=1e-4)
    assert found["stability", ""].value == pytest.approx(np.std([0.5, 0.25, 0]))
    assert found["stability", ""].low < found["stability", ""].value < found["stability", ""].high


def test_on_a_mean_of_nothing_nothing_is_gained() -> None:
    found = compared({EN: right(0), DE: right(0)})
    assert found["stability", ""].value == 0
    assert not [name for kind, name in found if kind == "relative gain"]


def test_one_language_is_compared_with_none() -> None:
    kinds = {kind for kind, _ in compared({DE: right(20), SW: right(0, of=())})}
    assert kinds == {"tier mean", "script mean"}


def test_a_question_counts_in_the_cycle_only_if_it_is_right_in_every_language() -> None:
    assert all_right(np.array([[1.0, 1], [1, 0], [0, 0]])).tolist() == [1, 0, 0]
    back = Statistics(right(30).values[::-1], THINGS)
    found = compared({EN: right(30), DE: back, SW: right(40)})["cycle accuracy", ""]
    assert (found.value, found.n, found.things, found.left_out) == (0.5, 40, 40, 0)
    assert found.low < 0.5 < found.high


def test_what_was_not_answered_in_every_language_is_counted_in_the_cycle() -> None:
    found = compared({EN: right(4, THINGS[:4]), DE: right(3, THINGS[:3])})["cycle accuracy", ""]
    assert (found.value, found.n, found.left_out) == (1, 3, 1)
    assert ("cycle accuracy", "") not in compared({EN: right(4, THINGS[:4]), DE: right(4, THINGS[4:])})


def test_a_metric_that_is_no_count_of_right_answers_has_no_cycle() -> None:
    graded = Statistics(np.array([[0.5, 1.0], [1.0, 1.0]]), THINGS[:2])
    assert ("cycle accuracy", "") not in compared({EN: graded, DE: graded})


def test_rank_variance_is_zero_where_ranks_are_equal_in_all_languages() -> None:
    assert rank_variance(np.array([[3.0, 3, 3], [0, 0, 3]])).tolist() == [0, 2]
    assert rank_deviation(np.array([[3.0, 3, 3], [0, 0, 3]])) == pytest.approx([0, math.sqrt(2)])
    ranks = {EN: dict.fromkeys(THINGS, 2), DE: dict.fromkeys(THINGS, 2)}
    measured = {EN: right(0), DE: right(0)}
    assert compared(measured, "likelihood-accuracy", ranks)["rank variance", ""].value == 0
    ranks[DE] = {one: place % 3 for place, one in enumerate(THINGS[:39])}
    found = compared(measured, "likelihood-accuracy", ranks)
    variance, deviation = found["rank variance", ""], found["rank deviation", ""]
    assert variance.value == pytest.approx((1 + 0.25 + 0) / 3)
    assert deviation.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert (variance.n, variance.left_out) == (39, 1)


def test_equal_accuracies_with_other_ranks_are_told_apart() -> None:
    """Two models that are right as often, one of which ranks alike in both languages."""
    half = {EN: right(20), DE: right(20)}
    same = {one: int(place >= 20) for place, one in enumerate(THINGS)}
    other = {one: 3 * int(place >= 20) for place, one in enumerate(THINGS)}
    alike = compared(half, "likelihood-accuracy", {EN: same, DE: same})
    apart = compared(half, "likelihood-accuracy", {EN: same, DE: other})
    assert alike["cycle accuracy", ""].value == apart["cycle accuracy", ""].value == 0.5
    assert alike["rank variance", ""].value == 0
    assert apart["rank variance", ""].value == 0.5


def test_the_rank_is_of_the_best_right_choice_and_of_equals_the_first_counts() -> None:
    ranked = row("1", "a", "c", choices=("a", "b", "c"), likelihoods=(-1.0, -3.0, -2.0))
    assert right_rank(ranked) == 1
    equal = row("1", "a", "b", choices=("a", "b"), likelihoods=(-1.0, -1.0))
    assert right_rank(equal) == 1
    assert asked([ranked, row("2")]).ranks == {"1": 1}


def test_scoring_writes_comparisons_that_can_be_read(toy: Benchmark, tmp_path: Path) -> None:
    for code in (EN, DE, SW):
        rows = [row(str(place), "cat" if place < 3 else "dog", language=code) for place in range(6)]
        write_predictions(rows, prediction_path(tmp_path, "toy", "english", code))
    score_predictions(tmp_path)
    path = tmp_path / "comparisons.jsonl"
    found = {(one.kind, one.name, one.metric): one for one in read_comparisons(path)}
    assert found["cycle accuracy", "", "exact"].value == 0.5
    assert found["English gap", DE, "exact"].value == 0
    assert ("cycle accuracy", "", "chrf-sentence") not in found
    before = path.read_bytes()
    write_comparisons(read_comparisons(path), path)
    assert path.read_bytes() == before
