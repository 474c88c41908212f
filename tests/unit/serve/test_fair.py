"""Whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import pytest

from visiglot.errors import QueueFullError
from visiglot.serve.fair import IDLE_USERS, FairQueue

_ORDER = count()


@dataclass(eq=False)
class One:
    user: str
    cost: int = 10
    order: int = 0

    def __post_init__(self) -> None:
        self.order = next(_ORDER)


def queue_of(*ones: One, limit: int = 100) -> FairQueue[One]:
    queue: FairQueue[One] = FairQueue(limit)
    for one in ones:
        queue.push(one)
    return queue


def drained(queue: FairQueue[One]) -> list[One]:
    """All, each as its turn comes."""
    taken = []
    while len(queue):
        taken.append(next(iter(queue.in_order())))
        queue.take(taken[-1])
    return taken


def test_one_user_s_are_taken_in_the_order_in_which_they_came() -> None:
    ones = [One("a") for _ in range(5)]
    assert drained(queue_of(*ones)) == ones


def test_users_take_turns_however_much_one_of_them_asks() -> None:
    many, few = [One("many") for _ in range(50)], [One("few") for _ in range(3)]
    turns = drained(queue_of(*many, *few))
    assert [one.user for one in turns[:6]] == ["many", "few"] * 3
    assert turns[6:] == many[3:]


def test_turns_are_counted_in_tokens() -> None:
    users = [
        one.user for one in drained(queue_of(*[One("long", 40) for _ in range(4)], *[One("short") for _ in range(8)]))
    ]
    assert users[:10] == ["long", *["short"] * 4, "long", *["short"] * 4]


def test_what_is_told_of_the_order_is_how_it_comes() -> None:
    queue = queue_of(*[One("abc"[i % 3], cost=7 * (i % 4) + 1) for i in range(20)])
    assert list(queue.in_order()) == drained(queue)


def test_nobody_saves_up_turns_by_staying_away() -> None:
    queue = queue_of(*[One("there") for _ in range(40)])
    for _ in range(20):
        queue.take(next(iter(queue.in_order())))
    for _ in range(20):
        queue.push(One("late"))
    assert [one.user for one in queue.in_order()][:6].count("late") == 3


def test_tokens_that_were_not_used_count_for_nothing() -> None:
    queue = queue_of(*[One("a", 100) for _ in range(3)], *[One("b", 100) for _ in range(3)])
    first = next(iter(queue.in_order()))
    queue.take(first)
    queue.give_back("a", 99)
    assert [one.user for one in queue.in_order()][:3] == ["b", "a", "b"]
    queue.take(next(iter(queue.in_order())))
    assert next(iter(queue.in_order())).user == "a"


def test_who_leaves_without_a_turn_has_used_nothing() -> None:
    gone, stays, other = One("a", 1000), One("a"), One("b")
    queue = queue_of(gone, stays, other)
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert drained(queue) == [stays, other]


def test_a_full_queue_refuses_its_largest_user() -> None:
    queue = queue_of(One("a"), One("a"), One("b"), limit=3)
    with pytest.raises(QueueFullError, match="3 requests are waiting"):
        queue.push(One("a"))
    with pytest.raises(QueueFullError):
        queue.push(One("b"))
    assert len(queue) == 3


def test_a_full_queue_makes_room_for_one_who_has_less_in_it() -> None:
    many = [One("many") for _ in range(4)]
    queue, few = queue_of(*many, limit=4), One("few")
    assert queue.push(few) is many[-1]
    assert len(queue) == 4
    assert few in list(queue.in_order())[:2]


def test_users_who_have_gone_are_forgotten() -> None:
    queue = queue_of()
    queue.push(One("always"))
    for number in range(5 * IDLE_USERS):
        queue.push(One(str(number)))
        queue.push(One("always", 100))
        for _ in range(2):
            queue.take(next(iter(queue.in_order())))
    assert len(queue._spent) <= 3 * IDLE_USERS
