"""Rows -> numbers: means over languages and seeds, intervals over concepts, and what may be said about a difference.

Two spreads are kept apart. Seeds: the smallest and the largest of an arm's means; how much training itself varies.
Concepts: a percentile bootstrap that resamples concepts, seeds and languages held fixed; how much the choice of things
asked about matters. One arm is called ahead only when every seed of it is above every seed of the other and the paired
interval of the difference leaves out zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from studies.measure import RIGHT, WRONG
from studies.rows import Row, last_plan, measured, path_of, read_rows
from studies.study import Column, Study
from visiglot.evaluate.intervals import interval

METRIC = "exact"
LEAST_SEEDS = 2
"""Fewer tell nothing about how training varies, so nothing is claimed."""

Array = NDArray[np.float64]
Verdict = Literal["first", "second", "overlap", "interval", "few seeds", "not measured"]


@dataclass(frozen=True)
class Results:
    """What a study has measured of what it plans.

    Args:
        rows: arm -> seed -> row.
        planned: number of cells.
        memory: arm -> the row of what it took to train; of several the last.
    """

    rows: Mapping[str, Mapping[int, Row]]
    planned: int
    memory: Mapping[str, Row] = field(default_factory=dict)

    @property
    def measured(self) -> int:
        return sum(map(len, self.rows.values()))

    def of(self, arm: str) -> list[Row]:
        """The arm's rows by seed."""
        found = self.rows.get(arm, {})
        return [found[seed] for seed in sorted(found)]


def load_results(study: Study, folder: Path) -> Results:
    """The cells of the study's last plan that some line of `folder` has measured.

    Raises:
        EvaluationError: a file there is broken.
    """
    lines = read_rows(path_of(study.name, folder))
    plan = last_plan(lines)
    if plan is None:
        return Results({}, 0)
    known = measured(folder)
    rows: dict[str, dict[int, Row]] = {}
    for cell in plan["cells"]:
        if cell["identity"] in known:
            rows.setdefault(cell["arm"], {})[cell["seed"]] = known[cell["identity"]]
    arms = {cell["identity"]: cell["arm"] for cell in plan["cells"]}
    memory = {arms[row["identity"]]: row for row in lines if row["kind"] == "memory" and row["identity"] in arms}
    return Results(rows, len(plan["cells"]), memory)


@dataclass(frozen=True)
class Number:
    """A column's value for one arm: shares between 0 and 1.

    Args:
        seeds: one value for each measured seed.
        low, high: 95 % interval over concepts; NaN where the rows don't allow one.
        answers: in each cell.
        languages: that the mean is over.
    """

    seeds: tuple[float, ...]
    low: float
    high: float
    answers: int
    languages: int

    @property
    def mean(self) -> float:
        return sum(self.seeds) / len(self.seeds) if self.seeds else math.nan


@dataclass(frozen=True)
class Difference:
    """First minus second, with the 95 % interval of the paired bootstrap over concepts."""

    first: Number
    second: Number
    value: float
    low: float
    high: float
    verdict: Verdict


def number(study: Study, rows: Sequence[Row], column: Column) -> Number:
    """The column's value over an arm's rows (one for each seed)."""
    codes = study.codes(column.languages)
    values, answers, languages = [], 0, 0
    for row in rows:
        scores = row["scores"].get(column.benchmark, {})
        found = [scores[code][METRIC] for code in codes if code in scores and scores[code][METRIC] is not None]
        if found:
            values.append(sum(found) / len(found))
            answers = sum(scores[code]["n"] for code in codes if code in scores)
            languages = len(found)
    counts = _counts(rows, column.benchmark, codes)
    low, high = (math.nan, math.nan) if counts is None else interval(counts[0], counts[1], _mean)
    return Number(tuple(values), low, high, answers, languages)


def difference(study: Study, first: Sequence[Row], second: Sequence[Row], column: Column) -> Difference:
    """How two arms compare in a column."""
    one, other = number(study, first, column), number(study, second, column)
    codes = study.codes(column.languages)
    left, right = _counts(first, column.benchmark, codes), _counts(second, column.benchmark, codes)
    low = high = math.nan
    if left is not None and right is not None and left[1] == right[1]:
        low, high = interval(np.concatenate([left[0], right[0]], axis=1), left[1], _mean_difference)
    return Difference(one, other, one.mean - other.mean, low, high, _verdict(one, other, low, high))


def _verdict(one: Number, other: Number, low: float, high: float) -> Verdict:
    if not one.seeds or not other.seeds:
        return "not measured"
    if min(len(one.seeds), len(other.seeds)) < LEAST_SEEDS:
        return "few seeds"
    above, below = min(one.seeds) > max(other.seeds), max(one.seeds) < min(other.seeds)
    if not (above or below):
        return "overlap"
    if math.isfinite(low) and low <= 0 <= high:
        return "interval"
    return "first" if above else "second"


def _counts(rows: Sequence[Row], benchmark: str, codes: Sequence[str]) -> tuple[Array, list[str]] | None:
    """([questions, 2L] right answers and answers by language, summed over seeds; each question's concept). None when
    the rows were asked different things or tell nothing."""
    groups: list[str] | None = None
    total: Array | None = None
    for row in rows:
        told = row["right"].get(benchmark)
        if told is None or (groups is not None and told["groups"] != groups):
            return None
        groups = told["groups"]
        signs = [told["languages"].get(code) for code in codes]
        if any(one is None for one in signs):
            return None
        table = np.array([list(one) for one in signs if one is not None]).T  # [questions, L]
        counts = np.concatenate([table == RIGHT, (table == RIGHT) | (table == WRONG)], axis=1).astype(np.float64)
        total = counts if total is None else total + counts
    return None if total is None or groups is None else (total, list(groups))


def _mean(sums: Array) -> Array:
    """[..., 2L] right and asked -> [...] mean share over languages; one without answers takes no part."""
    half = sums.shape[-1] // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = sums[..., :half] / sums[..., half:]
    found = np.isfinite(shares)
    mean: Array = np.where(found, shares, 0.0).sum(axis=-1) / np.maximum(found.sum(axis=-1), 1)
    return mean


def _mean_difference(sums: Array) -> Array:
    half = sums.shape[-1] // 2
    return _mean(sums[..., :half]) - _mean(sums[..., half:])
