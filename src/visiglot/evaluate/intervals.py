"""Percentile bootstrap intervals that resample groups, not rows.

Answers about one thing (four drawings of one cat, its name in eighty languages) are right or wrong together; an
interval that resamples single rows is then too narrow. So the groups are the units: each resample draws as many groups
as there are, with replacement, and takes all rows of a group as often as it was drawn
(Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
_BLOCK = 4_000_000
"""Draws held at a time: 32 MB."""


def interval(
    values: Array,
    groups: Sequence[str],
    reduce: Callable[[Array], Array],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> tuple[float, float]:
    """The percentile interval of `reduce(sum of the units)`.

    Args:
        values: [U, S] sufficient statistics of U units.
        groups: U names.
        reduce: [..., S] -> [...].

    Returns:
        Lower and upper end, equal for equal arguments; NaN and NaN when there is no unit or only one group, from
        which nothing about the spread can be learned.
    """
    return ends(resample([(values, groups)], reduce, resamples=resamples, seed=seed)[:, 0], level=level)


def resample(
    parts: Sequence[tuple[Array, Sequence[str]]],
    reduce: Callable[[Array], Array],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Array:
    """The value of each part in each resample, the groups drawn once for all parts.

    Parts are answers to the same questions (one in each language): whatever is computed from a row of the result,
    a mean over languages or the ratio of two such means, has its interval in `ends` of these.

    Args:
        parts: of each its units' sufficient statistics [U, S] and their U group names. Groups are drawn from all names
            of all parts; a part that lacks one has nothing of it in that draw.
        reduce: [..., S] -> [...].

    Returns:
        [B, P]; one row of NaN when there are fewer than two groups.
    """
    names, index = np.unique(
        np.asarray([str(name) for _, groups in parts for name in groups], dtype=object).astype(str), return_inverse=True
    )
    if len(names) < 2:
        return np.full((1, len(parts)), np.nan)
    sums = np.zeros((len(parts), len(names), parts[0][0].shape[1]))
    start = 0
    for part, (values, _) in enumerate(parts):
        np.add.at(sums[part], index[start : start + len(values)], values)
        start += len(values)
    blocks = [np.stack([reduce(times @ one) for one in sums], axis=1) for times in _draws(len(names), resamples, seed)]
    return np.concatenate(blocks)


def ends(drawn: Array, *, level: float = LEVEL) -> tuple[float, float]:
    """Lower and upper end of the percentile interval of resampled values [B], NaN among them left out."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def _draws(count: int, resamples: int, seed: int) -> Iterator[Array]:
    """[B, count] how often each group was drawn, in blocks that make up `resamples` rows. They don't depend on the
    values, so equal data sets (two models, two languages) are resampled alike."""
    if resamples * count <= _BLOCK:
        yield _kept_draws(count, resamples, seed)
        return
    generator = np.random.default_rng(seed)
    step = max(1, _BLOCK // count)
    for start in range(0, resamples, step):
        yield _draw(generator, count, min(step, resamples - start))


@lru_cache(maxsize=4)
def _kept_draws(count: int, resamples: int, seed: int) -> Array:
    return _draw(np.random.default_rng(seed), count, resamples)


def _draw(generator: np.random.Generator, count: int, resamples: int) -> Array:
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
