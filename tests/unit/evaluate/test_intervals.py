"""Bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visiglot.evaluate.intervals import ends, interval, resample
from visiglot.evaluate.metrics import mean

CLUSTERS, SIZE = 20, 15


def clustered() -> tuple[np.ndarray, list[str], list[str]]:
    """Rows that are all right or all wrong in each cluster; (statistics, cluster of each, a name for each row)."""
    values = np.ones((CLUSTERS * SIZE, 2))
    values[:, 0] = np.repeat(np.arange(CLUSTERS) % 2, SIZE)
    return values, [f"c{i // SIZE}" for i in range(len(values))], [f"r{i}" for i in range(len(values))]


def test_resampling_clusters_gives_a_wider_interval_than_resampling_rows() -> None:
    values, clusters, rows = clustered()
    by_cluster, by_row = interval(values, clusters, mean), interval(values, rows, mean)
    width = [high - low for low, high in (by_cluster, by_row)]
    assert width[0] > 3 * width[1] > 0
    # the standard error of a mean of 20 fair coins is .112, of 300 it is .029
    assert width[0] == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(CLUSTERS), rel=0.15)
    assert width[1] == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(CLUSTERS * SIZE), rel=0.15)


def test_the_interval_is_a_function_of_its_arguments() -> None:
    values, clusters, _ = clustered()
    assert interval(values, clusters, mean, seed=3) == interval(values, clusters, mean, seed=3)
    assert interval(values, clusters, mean, seed=3) != interval(values, clusters, mean, seed=4)


def test_a_large_set_is_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, clusters, _ = clustered()
    monkeypatch.setattr("visiglot.evaluate.intervals._BLOCK", 100)
    low, high = interval(values, clusters, mean)
    assert 0.2 < low < 0.5 < high < 0.8


def test_one_group_says_nothing_about_the_spread() -> None:
    values, _, _ = clustered()
    low, high = interval(values, ["same"] * len(values), mean)
    assert math.isnan(low)
    assert math.isnan(high)


def test_a_ratio_of_sums_is_resampled_as_a_ratio() -> None:
    """Corpus metrics reduce sums; the interval must hold the ratio of the sums and not the mean of the ratios."""
    values = np.array([[1.0, 1.0], [1.0, 100.0]] * 30)
    ratio = 60 / 3030
    low, high = interval(values, [str(i) for i in range(60)], mean)
    assert low < ratio < high < 0.5


def test_parts_are_resampled_together_whatever_the_order_of_their_rows() -> None:
    values, clusters, _ = clustered()
    turned = [values[::-1].copy(), clusters[::-1]]
    drawn = resample([(values, clusters), (turned[0], turned[1])], mean)
    assert drawn.shape == (1000, 2)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert drawn[:, 0].std() > 0.05


def test_one_part_of_many_has_the_interval_that_it_has_alone() -> None:
    values, clusters, _ = clustered()
    drawn = resample([(1 - values, clusters), (values, clusters)], mean)
    assert ends(drawn[:, 1]) == interval(values, clusters, mean)


def test_a_part_that_lacks_a_group_has_nothing_of_it() -> None:
    values, clusters, _ = clustered()
    half = len(values) // 2
    drawn = resample([(values, clusters), (values[:half], clusters[:half])], mean)
    assert np.isfinite(drawn).all()
    assert drawn[:, 1].std() > 1.2 * drawn[:, 0].std()  # half as many clusters
