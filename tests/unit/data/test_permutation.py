from __future__ import annotations

from collections import Counter
from math import factorial

import numpy as np
import pytest

from visiglot.data.permutation import permuted


@pytest.mark.parametrize("size", range(1, 201))
def test_it_is_a_bijection(size: int) -> None:
    assert sorted(permuted(n, size, (7, size)) for n in range(size)) == list(range(size))


def test_it_is_a_bijection_of_large_ranges_as_far_as_one_looks() -> None:
    size = 5_000_003
    found = {permuted(n, size, (1,)) for n in range(20_000)}
    assert len(found) == 20_000
    assert 0 <= min(found) < size / 100
    assert size > max(found) > size * 0.99


@pytest.mark.parametrize("size", [2, 3, 4])
def test_all_permutations_occur_about_equally_often(size: int) -> None:
    keys = 600 * factorial(size)
    found = Counter(tuple(permuted(n, size, (5, key)) for n in range(size)) for key in range(keys))
    assert len(found) == factorial(size)
    assert max(abs(count - 600) for count in found.values()) < 130, "five standard deviations of a fair draw"


def test_it_differs_by_key_and_by_what_the_key_means() -> None:
    orders = [tuple(permuted(n, 100, key) for n in range(100)) for key in [(1,), (2,), (1, 2), (12,), (-1,), (2, 1)]]
    assert len(set(orders)) == len(orders)


def test_where_an_element_goes_says_nothing_of_its_place() -> None:
    size = 10_000
    places = np.array([permuted(n, size, (3,)) for n in range(size)])
    assert abs(np.corrcoef(places, np.arange(size))[0, 1]) < 0.05
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 0.05
    for period in (2, 3, 7):
        same = np.mean(places % period == np.arange(size) % period)
        assert abs(same - 1 / period) < 0.03


@pytest.mark.parametrize("index", [-1, 5])
def test_a_place_outside_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"of 5 has no place {index}"):
        permuted(index, 5, (0,))
