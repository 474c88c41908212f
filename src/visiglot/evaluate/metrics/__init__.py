"""The table of metrics and what each of them must give.

A metric turns answers into rows of sufficient statistics and a function from their sum to the value. So corpus
metrics, means and ratios (F1, CHAIR) get their bootstrap intervals from the same few lines, without counting anything
twice, and a metric may fold several answers into one row (a pair of questions, a circle of options).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visiglot.errors import EvaluationError
from visiglot.registry import Registry
from visiglot.types import Prediction

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What a metric saw in a set of answers.

    Args:
        values: [U, S] sufficient statistics of U units (an answer each, unless the metric folds answers).
        groups: U names; units of one group are resampled together.
        undetermined: units that the metric could not judge; they are not among the U.
    """

    values: Array
    groups: tuple[str, ...]
    undetermined: int = 0


class Measure(Protocol):
    """Answers in one language -> statistics. Rows with an error never arrive here."""

    def __call__(self, rows: Sequence[Prediction], language: str) -> Statistics: ...


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """What the user says of how answers are scored.

    Args:
        lid_model: a fastText model of languages; None: py3langid.
    """

    lid_model: Path | None = None


DEFAULTS = ScoreSettings()
"""Where the user says nothing."""


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Args:
        name: as in `scores.jsonl`; says exactly what is computed.
        about: one sentence for the report.
        measure: answers -> statistics.
        reduce: [..., S] summed statistics -> [...] values.
        tokenisation: what is done to both texts first, as in `scores.jsonl`; called when something is scored, so
            that it can name the version of the library that does it.
        percent: values are shares between 0 and 1 and are written as percentages.
        maximum: the best possible value, the right end of bars; None: open.
        higher_is_better: false for error rates.
        configure: makes this metric follow settings; None: it knows none.
        of_questions: whether it is the same whatever is answered (chance), and stands beside others only.
    """

    name: str
    about: str
    measure: Measure
    reduce: Callable[[Array], Array]
    tokenisation: Callable[[], str]
    percent: bool = True
    maximum: float | None = 1.0
    higher_is_better: bool = True
    configure: Callable[[ScoreSettings], Metric] | None = None
    of_questions: bool = False

    def under(self, settings: ScoreSettings) -> Metric:
        """This metric as `settings` want it."""
        return self if self.configure is None else self.configure(settings)


METRICS: Registry[Metric] = Registry(
    "metric",
    modules=(
        "visiglot.evaluate.metrics.exact",
        "visiglot.evaluate.metrics.chrf",
        "visiglot.evaluate.metrics.corpus",
        "visiglot.evaluate.metrics.captions",
        "visiglot.evaluate.metrics.vqa",
        "visiglot.evaluate.metrics.gqa",
        "visiglot.evaluate.metrics.relaxed",
        "visiglot.evaluate.metrics.normal",
        "visiglot.evaluate.metrics.choice",
        "visiglot.evaluate.metrics.folded",
        "visiglot.evaluate.metrics.m4u",
        "visiglot.evaluate.metrics.mmmu",
        "visiglot.evaluate.metrics.likelihood",
        "visiglot.evaluate.metrics.chance",
        "visiglot.evaluate.metrics.mtvqa",
        "visiglot.evaluate.metrics.recall",
        "visiglot.evaluate.metrics.pope",
        "visiglot.evaluate.metrics.mme",
        "visiglot.evaluate.metrics.chair",
        "visiglot.evaluate.metrics.fidelity",
    ),
)


def mean(sums: Array) -> Array:
    """[..., 2] (sum of the values, number of units) -> [...] their mean."""
    values: Array = np.full(sums.shape[:-1], np.nan)
    np.divide(sums[..., 0], sums[..., 1], out=values, where=sums[..., 1] > 0)
    return values


def mean_statistics(values: Sequence[float], rows: Sequence[Prediction]) -> Statistics:
    """One value for each row, to be averaged with `mean`. A row without a group is a group of its own."""
    table = np.ones((len(rows), 2))
    table[:, 0] = values
    return Statistics(table, tuple(row.group or row.id for row in rows))


def of_each_row(value: Callable[[Prediction, str], float]) -> Measure:
    """A measure whose `mean` is that of `value` of each row and the rows' language."""

    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        return mean_statistics([value(row, language) for row in rows], rows)

    return measure


def always(name: str) -> Callable[[], str]:
    """A tokenisation whose name is the same whatever is installed."""
    return lambda: name


def answer_and_references(row: Prediction) -> tuple[str, tuple[str, ...]]:
    """The row's answer and its gold answers.

    Raises:
        EvaluationError: the row has no gold answer.
    """
    assert row.text is not None, "rows with an error are counted, never scored"
    if not row.references:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has no reference to compare with",
            hint="Leave such rows out of the benchmark, or score with a metric that needs no reference.",
        )
    return row.text, row.references
