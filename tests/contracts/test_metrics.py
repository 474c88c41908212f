"""What holds for every metric in the table."""

from __future__ import annotations

import numpy as np
import pytest

from visiglot.evaluate.metrics import METRICS, Metric
from visiglot.types import Prediction

pytest.importorskip("sacrebleu")


def rows(*answers: str) -> list[Prediction]:
    return [
        Prediction(str(i), "", "deu_Latn", "", text, None, "b", "s", "p", ("Haus",), "m", "h", "caption", f"g{i}")
        for i, text in enumerate(answers)
    ]


def value(metric: Metric, *answers: str) -> float:
    return float(metric.reduce(metric.measure(rows(*answers), "deu_Latn").values.sum(axis=0)))


@pytest.fixture(params=METRICS.names())
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS.get(request.param)


def test_its_row_and_its_name_agree_and_it_says_what_it_is(metric: Metric) -> None:
    assert METRICS.get(metric.name) is metric
    assert metric.about.endswith(".")
    assert metric.tokenisation()


def test_references_as_answers_get_the_best_value(metric: Metric) -> None:
    best, worse = value(metric, "Haus", "Haus"), value(metric, "Haus", "Baum")
    assert best > worse if metric.higher_is_better else best < worse
    if metric.maximum is not None:
        assert best == pytest.approx(metric.maximum)


def test_the_order_of_the_rows_does_not_matter(metric: Metric) -> None:
    assert value(metric, "Haus", "Baum", "") == pytest.approx(value(metric, "", "Haus", "Baum"))


def test_many_sums_are_reduced_at_once_as_one_by_one(metric: Metric) -> None:
    """Resampling gives [B, S] sums."""
    statistics = metric.measure(rows("Haus", "Baum", "Hau"), "deu_Latn")
    sums = np.stack([statistics.values[:1].sum(axis=0), statistics.values.sum(axis=0)])
    assert metric.reduce(sums) == pytest.approx([float(metric.reduce(one)) for one in sums])
    assert len(statistics.groups) == len(statistics.values)
