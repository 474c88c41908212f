from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from visiglot.data.tasks.choice import Halves, Place, Places, coin, key_of, offsets, pick


def test_a_place_is_found_in_sorted_and_unsorted_numbers() -> None:
    indices = {
        "deu_Latn": np.array([2, 5, 9]),
        "swh_Latn": np.array([8, 1, 4, 30]),
        "hin_Deva": np.array([], dtype=int),
    }
    places = Places(indices)
    for code, numbers in indices.items():
        for rank, index in enumerate(numbers.tolist()):
            assert places.find(code, index) == Place(code, rank, len(numbers))
    for code, index in [
        ("deu_Latn", 3),
        ("deu_Latn", 99),
        ("swh_Latn", 2),
        ("swh_Latn", 31),
        ("hin_Deva", 0),
        ("x", 1),
    ]:
        assert places.find(code, index) is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 101])
@pytest.mark.parametrize("key", range(6))
def test_halves_differ_by_one_at_most_and_no_three_in_a_row_are_alike(size: int, key: int) -> None:
    halves = Halves(key_of(key))
    sides = halves.sides(size)
    assert abs(int(sides.sum()) * 2 - size) <= 1
    assert [halves.side(Place("x", rank, size)) for rank in range(size)] == sides.tolist()
    for side in (True, False):
        assert halves.count(size, side) == int((sides == side).sum())
    runs = [len(set(sides[at : at + 3].tolist())) for at in range(size - 2)]
    assert all(kinds == 2 for kinds in runs)


def test_sides_follow_neither_parity_nor_period() -> None:
    sides = Halves(key_of("any")).sides(20_000)
    assert abs(sides[::2].mean() - 0.5) < 0.02
    for period in (2, 3, 4, 125):
        assert abs(np.mean(sides[period:] == sides[:-period]) - 0.5) < 0.02


@pytest.mark.parametrize("size", [1, 5, 6, 100])
def test_a_rotation_picks_each_thing_equally_often_also_over_several_parts(size: int) -> None:
    parts = [("a", "one", size), ("b", "one", 7), ("c", "two", 3), ("d", "one", size + 1)]
    starts = offsets(parts)
    assert starts == {"a": 0, "b": size, "c": 0, "d": size + 7}
    picked = Counter(
        pick(4, rank, count, "rotation", key_of(part), starts[part])
        for part, group, count in parts
        for rank in range(count)
        if group == "one"
    )
    assert max(picked.values()) - min(picked[n] for n in range(4)) <= 1


def test_a_draw_is_random_and_depends_on_the_key() -> None:
    drawn = [[pick(5, rank, 1000, "draw", key_of(key)) for rank in range(1000)] for key in range(2)]
    assert all(150 < count < 250 for count in Counter(drawn[0]).values())
    assert drawn[0] != drawn[1]


def test_one_of_one_is_that_one() -> None:
    assert pick(1, 5, 10, "rotation", 3, 7) == pick(1, 5, 10, "draw", 3) == 0


def test_coins_fall_alike_one_by_one_and_together() -> None:
    numbers = np.arange(50)
    together = coin(numbers, key_of("x"))
    assert [int(coin(np.array([n]), key_of("x"))[0]) for n in numbers] == together.tolist()
    assert len(set(together.tolist())) == 50
