"""Two models on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.comparisons import KINDS, Comparison
from visiglot.evaluate.intervals import resample
from visiglot.evaluate.means import ALL
from visiglot.evaluate.metrics import METRICS, mean
from visiglot.evaluate.paired import OTHERS, compare_models, p_value
from visiglot.evaluate.predictions import prediction_path, read_comparisons, write_comparisons, write_predictions

pytestmark = pytest.mark.usefixtures("toy")
EN, DE, SW = "eng_Latn", "deu_Latn", "swh_Latn"


def answers(folder: Path, language: str, right: Sequence[bool | None], **changes: str) -> Path:
    """Answers to numbered questions: right, wrong, or failed (None)."""
    rows = [
        row(str(place), None if one is None else "cat" if one else "dog", language=language, **changes)
        for place, one in enumerate(right)
    ]
    write_predictions(rows, prediction_path(folder, "toy", "english", language))
    return folder


def differences(**folders: Path) -> dict[str, Comparison]:
    found = [one for one in compare_models(folders) if one.metric == "exact"]
    assert all(one.kind in KINDS for one in found)
    return {one.name: one for one in found if one.kind == "difference"}


def test_what_is_hard_for_both_cancels_out(tmp_path: Path) -> None:
    """One more right answer in ten, always on the same questions: certain in a pair, not between two intervals."""
    hard = [place % 2 == 0 for place in range(100)]
    better = [one or place % 10 == 1 for place, one in enumerate(hard)]
    first = answers(tmp_path / "a", DE, hard)
    second = answers(tmp_path / "b", DE, better)
    found = differences(a=first, b=second)[DE]
    assert found.value == pytest.approx(0.1)
    assert 0.03 < found.low < 0.1 < found.high < 0.18
    assert found.p < 0.01
    assert (found.models, found.n, found.things, found.left_out) == (("a", "b"), 100, 100, 0)
    backwards = differences(b=second, a=first)[DE]
    assert backwards.value == pytest.approx(-found.value)
    assert backwards.p == pytest.approx(found.p)


def test_equal_models_differ_by_nothing(tmp_path: Path) -> None:
    first = answers(tmp_path / "a", DE, [True, False] * 20)
    found = differences(a=first, b=answers(tmp_path / "b", DE, [True, False] * 20))[DE]
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_difference_by_chance_is_not_significant(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    first = answers(tmp_path / "a", DE, (generator.random(60) < 0.5).tolist())
    found = differences(a=first, b=answers(tmp_path / "b", DE, (generator.random(60) < 0.5).tolist()))[DE]
    assert found.p > 0.05
    assert found.low < 0 < found.high


def test_answers_that_one_model_lacks_or_failed_are_left_out_of_both_and_counted(tmp_path: Path) -> None:
    first = answers(tmp_path / "a", DE, [True, True, None, False, True])
    second = answers(tmp_path / "b", DE, [True, False, True, False])
    found = differences(a=first, b=second)[DE]
    assert (found.n, found.left_out) == (3, 2)
    assert found.value == pytest.approx(1 / 3 - 2 / 3)


def test_languages_count_alike_in_the_macro_means(tmp_path: Path) -> None:
    for model, right in (("a", {EN: 8, DE: 4, SW: 0}), ("b", {EN: 8, DE: 8, SW: 1})):
        for code, count in right.items():
            answers(tmp_path / model, code, [place < count for place in range(8 if code != SW else 4)])
    found = differences(a=tmp_path / "a", b=tmp_path / "b")
    assert set(found) == {ALL, OTHERS, EN, DE, SW}
    assert found[ALL].value == pytest.approx((0 + 0.5 + 0.25) / 3)
    assert found[OTHERS].value == pytest.approx((0.5 + 0.25) / 2)
    assert found[OTHERS].languages == (DE, SW)
    assert found[ALL].n == 20


def test_a_mean_of_differences_is_over_languages_in_which_both_have_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric without a value in one language of one model: its mean must not be set against the other's of more."""

    def reduce(sums: Any) -> Any:
        right, count = np.asarray(sums)[..., 0], np.asarray(sums)[..., 1]
        return np.where(right == 0, np.nan, right / np.where(count == 0, 1, count))

    exact = METRICS.get("exact")
    monkeypatch.setitem(METRICS._things, "exact", replace(exact, reduce=reduce))
    for model, right in (("a", {DE: 4, SW: 0}), ("b", {DE: 6, SW: 8})):
        for code, count in right.items():
            answers(tmp_path / model, code, [place < count for place in range(8)])
    found = differences(a=tmp_path / "a", b=tmp_path / "b")
    assert found[ALL].value == pytest.approx(0.25)
    assert (found[ALL].languages, found[ALL].n) == ((DE,), 8)
    assert math.isnan(found[SW].value)


def test_files_that_only_one_has_are_passed_over(tmp_path: Path) -> None:
    first = answers(answers(tmp_path / "a", DE, [True]), SW, [True])
    assert set(differences(a=first, b=answers(tmp_path / "b", DE, [False]))) == {ALL, DE}
    assert compare_models({"a": first, "c": answers(tmp_path / "c", EN, [True])}) == []


def test_other_references_are_other_questions(tmp_path: Path) -> None:
    first = answers(tmp_path / "a", DE, [True])
    write_predictions([row("0", "Hund", "Hund", language=DE)], prediction_path(tmp_path / "b", "toy", "english", DE))
    with pytest.raises(EvaluationError, match="same questions"):
        compare_models({"a": first, "b": tmp_path / "b"})


def test_a_models_relative_gain_is_over_the_models_in_each_language(tmp_path: Path) -> None:
    for model, right in (("a", {EN: 10, DE: 6}), ("b", {EN: 10, DE: 2}), ("c", {EN: 10, DE: 4})):
        for code, count in right.items():
            answers(tmp_path / model, code, [place < count for place in range(10)])
    found = compare_models({model: tmp_path / model for model in "abc"})
    gains = {one.models[0]: one.value for one in found if (one.kind, one.metric) == ("model relative gain", "exact")}
    assert gains == pytest.approx({"a": 25, "b": -25, "c": 0}, abs=1e-3)
    pairs = {one.models for one in found if one.kind == "difference"}
    assert pairs == {("a", "b"), ("a", "c")}


def test_p_is_the_share_of_resamples_as_far_from_the_observed_as_that_is_from_nothing() -> None:
    assert p_value(np.array([0.1, 0.2, 0.3, 0.05]), 0.1) == pytest.approx((2 + 1) / 5)
    assert p_value(np.zeros(9), 0.0) == 1
    assert math.isnan(p_value(np.full(3, math.nan), 0.1))


def test_p_is_uniform_where_models_are_alike() -> None:
    generator = np.random.default_rng(0)
    groups = [str(place) for place in range(60)]
    small = []
    for _ in range(200):
        parts = [np.stack([generator.random(60) < 0.5, np.ones(60)], axis=1).astype(float) for _ in range(2)]
        drawn = resample([(part, groups) for part in parts], mean, resamples=200)
        observed = parts[1][:, 0].mean() - parts[0][:, 0].mean()
        small.append(p_value(drawn[:, 1] - drawn[:, 0], observed) < 0.2)
    assert 0.12 < np.mean(small) < 0.28


def test_comparisons_of_models_can_be_written_and_read(tmp_path: Path) -> None:
    first = answers(tmp_path / "a", DE, [True, False, True])
    found = compare_models({"a": first, "b": answers(tmp_path / "b", DE, [True, True, True])})
    write_comparisons(found, tmp_path / "comparisons.jsonl")
    again = read_comparisons(tmp_path / "comparisons.jsonl")
    assert [(one.models, one.value, one.low) for one in again] == [(one.models, one.value, one.low) for one in found]
