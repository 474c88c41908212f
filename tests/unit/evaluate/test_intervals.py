"""Bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from visiglot.evaluate.intervals import interval
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
