"""How far two clouds are apart, on clouds of which the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visiglot.evaluate.gap import area, distance_of_means, flattened, length_ratio, probe_auc

RANDOM = np.random.default_rng(3)


def cloud(n: int, width: int, shift: float = 0.0) -> np.ndarray:
    """Normal vectors, moved along the first axis."""
    vectors = RANDOM.standard_normal((n, width))
    vectors[:, 0] += shift
    return vectors


@pytest.mark.parametrize(("n", "m", "width"), [(300, 300, 8), (300, 60, 8), (120, 120, 600)])
def test_a_probe_is_at_chance_where_there_is_no_gap(n: int, m: int, width: int) -> None:
    areas = [probe_auc(cloud(n, width), cloud(m, width), seed=seed) for seed in range(8)]
    assert abs(np.mean(areas) - 0.5) < 0.05


@pytest.mark.parametrize("width", [3, 600])
def test_a_probe_is_right_where_the_gap_is_whole(width: int) -> None:
    assert probe_auc(cloud(100, width, 30.0), cloud(90, width)) == 1.0


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_a_probes_area_is_that_of_two_normal_distributions(shift: float) -> None:
    """Of two normal clouds with unit variance a distance d apart, the best line's AUC is Phi(d / sqrt(2))."""
    expected = (1 + math.erf(shift / 2)) / 2
    assert probe_auc(cloud(4000, 5, shift), cloud(4000, 5)) == pytest.approx(expected, abs=0.015)


def test_a_probe_doesnt_care_about_scale_place_or_which_is_which() -> None:
    one, other = cloud(200, 6, 1.0), cloud(200, 6)
    area_ = probe_auc(one, other)
    assert probe_auc(1000 * one + 7, 1000 * other + 7) == pytest.approx(area_, abs=1e-6)
    assert probe_auc(other, one) == pytest.approx(area_, abs=0.02)  # other folds
    one[:, 3] = other[:, 3] = 2.5  # an axis on which nothing differs
    assert math.isfinite(probe_auc(one, other))


def test_a_probe_never_sees_what_it_is_judged_on() -> None:
    """As many axes as vectors fit anything: a probe judged on what it learned would be right of pure noise."""
    assert abs(np.mean([probe_auc(cloud(60, 400), cloud(60, 400), seed=s) for s in range(6)]) - 0.5) < 0.12


def test_too_few_vectors_have_no_area() -> None:
    assert probe_auc(cloud(4, 3), cloud(50, 3)) is None
    assert probe_auc(cloud(5, 3), cloud(5, 3)) is not None


def test_area_counts_pairs_and_half_of_ties() -> None:
    assert area(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert area(np.array([0.0]), np.array([0.0, 0.0])) == 0.5


def test_distance_is_that_of_the_means_of_directions() -> None:
    one, other = np.array([[2.0, 0.0], [5.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 9.0]])
    assert distance_of_means(one, other) == pytest.approx(math.sqrt(2))
    assert distance_of_means(one, 3 * one) == 0
    assert distance_of_means(one, -one) == pytest.approx(2)
    assert length_ratio(one, other) == pytest.approx(3.5 / 5)


def test_the_plane_is_that_of_the_largest_differences() -> None:
    one = np.stack([np.array([1.0, 0.02 * i, 0.0, 0.0]) for i in range(5)])
    other = np.stack([np.array([0.0, 0.0, 1.0, 0.01 * i]) for i in range(4)])
    left, right = flattened(one, other)
    assert (left.shape, right.shape) == ((5, 2), (4, 2))
    assert abs(left[:, 0].mean() - right[:, 0].mean()) == pytest.approx(math.sqrt(2), abs=0.01)
    assert np.allclose(np.concatenate([left, right]).mean(0), 0, atol=1e-9)
    again = flattened(one[::-1], other)[0]
    assert np.allclose(again[::-1], left)
    assert flattened(one[:1], one[:1])[0].shape == (1, 2)
