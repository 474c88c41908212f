"""Means over languages with their intervals: what the targets of a model are said in.

Every language counts alike. The answers about one thing are right or wrong together in all languages, so the bootstrap
draws things (the groups of the metric's units; in the built-in data they are concepts) once for all languages of a
benchmark. The interval of a mean, or of the ratio of two, then holds for these languages and other things.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visiglot.evaluate.intervals import SEED, Array, ends, resample
from visiglot.evaluate.metrics import Metric, Statistics

ALL = "all languages"
"""Name of the group of all scored languages, English among them."""


@dataclass(frozen=True, slots=True)
class GroupMean:
    """A mean of one metric over some languages; or, with `relative_to`, how many times that of other languages it is.

    Args:
        group, relative_to: names of groups of languages; "" where the mean stands for itself.
        languages: of `group`, those with a value.
        n: their answers, in the metric's units.
        things: groups of units, which are resampled.
    """

    benchmark: str
    prompt_set: str
    task: str
    metric: str
    tokenisation: str
    group: str
    relative_to: str
    languages: tuple[str, ...]
    n: int
    things: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Drawn:
    """A metric's value in each language, and in each resample of things.

    Args:
        codes: L languages with a value.
        values: [L].
        drawn: [B, L].
        measured: by language.
    """

    codes: tuple[str, ...]
    values: Array
    drawn: Array
    measured: Mapping[str, Statistics]

    def mean(self, members: Sequence[str]) -> tuple[float, Array]:
        """The mean over `members`, and what it is in each resample [B]."""
        at = [self.codes.index(code) for code in members]
        return float(mean_of_finite(self.values[None, at])[0]), mean_of_finite(self.drawn[:, at])

    def counts(self, members: Sequence[str]) -> tuple[int, int]:
        """Units, and the groups that they make up."""
        units = [self.measured[code] for code in members]
        groups = {name for statistics in units for name in statistics.groups}
        return sum(len(statistics.values) for statistics in units), len(groups)

    def there(self, groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """The groups of languages that have a member with a value, with those members."""
        known = set(self.codes)
        found = {name: tuple(code for code in members if code in known) for name, members in groups.items()}
        return {name: members for name, members in found.items() if members}


def draw(metric: Metric, measured: Mapping[str, Statistics], *, seed: int = SEED) -> Drawn:
    """The values, things drawn once for all languages; languages without a unit take no part."""
    codes = tuple(code for code, statistics in measured.items() if len(statistics.values))
    if not codes:
        return Drawn((), np.zeros(0), np.zeros((1, 0)), measured)
    drawn = resample([(measured[code].values, measured[code].groups) for code in codes], metric.reduce, seed=seed)
    values = np.array([float(metric.reduce(measured[code].values.sum(axis=0))) for code in codes])
    return Drawn(codes, values, drawn, measured)


def group_means(
    benchmark: str,
    prompt_set: str,
    task: str,
    metric: Metric,
    measured: Mapping[str, Statistics],
    groups: Mapping[str, Sequence[str]],
    *,
    base: str = "",
    seed: int = SEED,
) -> list[GroupMean]:
    """The mean over all languages and over each group, and each other group's mean relative to that of the base.

    Args:
        measured: by language; those without a unit take no part.
        groups: of languages, by name; groups of which nothing was measured are left out.
        base: the group that the others are compared with; "": none.
    """
    drawn = draw(metric, measured, seed=seed)
    if not drawn.codes:
        return []

    def row(group: str, relative_to: str, members: Sequence[str], value: float, spread: Array) -> GroupMean:
        low, high = ends(spread) if math.isfinite(value) else (math.nan, math.nan)
        return GroupMean(
            benchmark, prompt_set, task, metric.name, metric.tokenisation(), group, relative_to, tuple(members),
            *drawn.counts(members), value, low, high,
        )  # fmt: skip

    there = drawn.there(groups)
    rows = [row(name, "", members, *drawn.mean(members)) for name, members in {ALL: drawn.codes, **there}.items()]
    if base in there:
        below, spread = drawn.mean(there[base])
        for name, members in there.items():
            if name != base:
                above, own = drawn.mean(members)
                rows.append(row(name, base, members, above / below if below else math.nan, ratio(own, spread)))
    return rows


def mean_of_finite(values: Array) -> Array:
    """[B, P] -> [B] mean of the finite values; NaN where there are none."""
    finite = np.isfinite(values)
    counts = finite.sum(axis=1)
    found: Array = np.full(len(values), np.nan)
    np.divide(np.where(finite, values, 0.0).sum(axis=1), counts, out=found, where=counts > 0)
    return found


def ratio(above: Array, below: Array) -> Array:
    """[B] / [B]; NaN where the divisor is 0."""
    found: Array = np.full(len(above), np.nan)
    np.divide(above, below, out=found, where=below != 0)
    return found
