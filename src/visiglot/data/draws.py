"""In which order cells come: a shuffle of any length that can be entered anywhere, in constant memory.

The draws are cut into blocks. How many draws of each cell a block has is found by halving the row of blocks down to it:
each half gets its part of the cells' draws at random as a shuffle of the whole would leave it (the multivariate
hypergeometric distribution), from numbers that follow from the seed and the half's place alone. Within a block the
cells are shuffled. So counts are exact, every order is as likely as in one big shuffle, and a block costs a few
milliseconds wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from visiglot.data.allocation import quotas

BLOCK = 2**16
"""Draws that are planned together."""

KEPT_BLOCKS, KEPT_HALVES = 4, 256

SPREAD_EVENLY = 10**9
"""Draws from which on a half gets its share of each cell, as near as can be, instead of a random number of them (which
numpy can't draw there, and which would be off by less than 0.01 %)."""

_HALVES, _WITHIN, _TIES = range(3)
"""Streams of random numbers that must not meet."""

Counts = NDArray[np.int64]


class Order:
    """Which cell each draw is of, and how often that cell came before.

    Args:
        counts: draws of each cell.
        seed: any integers.
    """

    def __init__(self, counts: Sequence[int], seed: Sequence[int]) -> None:
        self._counts = np.asarray(counts, dtype=np.int64)
        self._total = int(self._counts.sum())
        self._seed = tuple(seed)
        self._blocks = -(-self._total // BLOCK)
        self._kind = np.int16 if len(counts) < 2**15 else np.int32
        self._half = lru_cache(KEPT_HALVES)(self._find_half)
        self._block = lru_cache(KEPT_BLOCKS)(self._find_block)

    def __len__(self) -> int:
        return self._total

    def draw(self, k: int) -> tuple[int, int]:
        """(cell, draws of that cell before this one) of draw `k`."""
        number, place = divmod(k, BLOCK)
        cells, ranks = self._block(number)
        return int(cells[place]), int(ranks[place])

    def _find_block(self, number: int) -> tuple[NDArray[np.integer], Counts]:
        """Cell and rank of each draw of a block, [draws] and [draws]."""
        before = np.zeros_like(self._counts)
        counts = self._counts
        first, stop = 0, self._blocks
        while stop - first > 1:
            middle = (first + stop) // 2
            left = self._half(first, stop)
            if number < middle:
                counts, stop = left, middle
            else:
                before, counts, first = before + left, counts - left, middle
        cells: NDArray[np.integer] = np.repeat(np.arange(len(counts)).astype(self._kind), counts)
        np.random.default_rng([*self._seed, _WITHIN, number]).shuffle(cells)
        by_cell = np.argsort(cells, kind="stable")
        ranks = np.empty(len(cells), dtype=np.int64)
        ranks[by_cell] = np.arange(len(cells)) + np.repeat(before - (np.cumsum(counts) - counts), counts)
        return cells, ranks

    def _find_half(self, first: int, stop: int) -> Counts:
        """Draws of each cell in the first half of the blocks from `first` to `stop`."""
        counts = self._counts_of(first, stop)
        draws = ((first + stop) // 2 - first) * BLOCK
        if int(counts.sum()) >= SPREAD_EVENLY:
            return quotas(counts.tolist(), draws, np.random.default_rng([*self._seed, _TIES, first, stop]))
        random = np.random.default_rng([*self._seed, _HALVES, first, stop])
        return random.multivariate_hypergeometric(counts, draws, method="marginals")

    def _counts_of(self, first: int, stop: int) -> Counts:
        """Draws of each cell in the blocks from `first` to `stop`, which halving leads to."""
        counts = self._counts
        low, high = 0, self._blocks
        while (low, high) != (first, stop):
            middle = (low + high) // 2
            left = self._half(low, high)
            if stop <= middle:
                counts, high = left, middle
            else:
                counts, low = counts - left, middle
        return counts
