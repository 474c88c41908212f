"""The order of cells: exact in every block and everywhere, as random as one big shuffle, and never written down."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from visiglot.data import draws
from visiglot.data.draws import Order


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "BLOCK", 8)


def drawn(counts: list[int], seed: int) -> list[tuple[int, int]]:
    order = Order(counts, (seed,))
    return [order.draw(k) for k in range(len(order))]


@pytest.mark.parametrize("counts", [[], [0, 0], [3], [8], [9, 0, 2], [40, 1, 0, 17], [5] * 30])
def test_every_cell_comes_as_often_as_it_should_and_counts_its_draws_in_order(
    small_blocks: None, counts: list[int]
) -> None:
    ranks = defaultdict(list)
    for cell, rank in drawn(counts, seed=1):
        ranks[cell].append(rank)
    assert {cell: list(range(count)) for cell, count in enumerate(counts) if count} == dict(ranks)


def test_a_draw_is_the_same_whichever_way_it_is_come_to(small_blocks: None) -> None:
    counts = [40, 1, 0, 17, 30]
    straight = drawn(counts, seed=5)
    backwards = Order(counts, (5,))
    assert [backwards.draw(k) for k in reversed(range(88))] == straight[::-1]
    for k in (87, 3, 50):
        assert Order(counts, (5,)).draw(k) == straight[k]
    assert drawn(counts, seed=6) != straight


def test_blocks_differ_as_those_of_a_shuffle_do(small_blocks: None) -> None:
    """Of 32 draws, 16 of each cell, the first 8 have a hypergeometric number of the one: mean 4, variance 1.55."""
    found = np.array(
        [sum(order.draw(k)[0] == 0 for k in range(8)) for order in (Order([16, 16], (s,)) for s in range(2000))]
    )
    assert abs(found.mean() - 4) < 0.15
    assert abs(found.var() - 8 * 0.25 * 24 / 31) < 0.2


def test_every_place_is_as_likely_for_a_cell(small_blocks: None) -> None:
    at = Counter(
        next(k for k in range(24) if order.draw(k)[0]) for order in (Order([23, 1], (s,)) for s in range(2400))
    )
    assert set(at) == set(range(24))
    assert max(at.values()) < 160
    assert min(at.values()) > 55


@pytest.mark.parametrize("total", [10**8, 3 * 10**12])
def test_an_order_of_any_length_is_entered_anywhere(total: int) -> None:
    counts = [total // 2, total // 3, total - total // 2 - total // 3]
    order = Order(counts, (1,))
    assert len(order) == total
    for k in (0, total // 7, total - 1):
        cell, rank = order.draw(k)
        assert 0 <= rank < counts[cell]
        assert abs(rank - k * counts[cell] / total) <= 1 + 1e-3 * total, "cells are spread over the whole"
    last = Counter(order.draw(k)[0] for k in range(total - 1000, total))
    assert 400 < last[0] < 600
    ranks = [order.draw(k)[1] for k in range(total - 1000, total) if order.draw(k)[0] == 0]
    assert ranks == list(range(counts[0] - len(ranks), counts[0]))
