"""Whose turn it is: a bounded queue in which users take turns by the tokens that they use.

Each user has a counter of tokens that were spent on them, and who has spent least is next (the virtual token counter of
Sheng et al., 2024, arXiv 2401.00588). One who comes starts where those are who wait already, so nobody saves up turns.
When the queue is full, the user who has most in it makes room for one who has less (McKenney, 1990, stochastic fairness
queueing). Not safe for threads by itself.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from visiglot.errors import QueueFullError


class Waiting(Protocol):
    """What can wait.

    Args:
        user: whose it is.
        cost: tokens that it may use; may become known while it waits.
        order: a number that grows with every one that comes.
    """

    @property
    def user(self) -> str: ...

    @property
    def cost(self) -> int: ...

    @property
    def order(self) -> int: ...


W = TypeVar("W", bound=Waiting)

IDLE_USERS = 256
"""Users with nothing in the queue whose counters are kept, if they are ahead of the others."""


class FairQueue(Generic[W]):
    """Those who wait, at most `limit` of them; one user's are in the order in which they came."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lines: dict[str, deque[W]] = {}
        self._spent: dict[str, int] = {}
        self._level = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, one: W) -> W | None:
        """Let `one` wait; who had to leave for it.

        Raises:
            QueueFullError: the queue is full, and nobody else has more in it than its user has.
        """
        out: W | None = None
        if self._size >= self.limit:
            out = self._make_room(one.user)
        line = self._lines.setdefault(one.user, deque())
        if not line:
            self._spent[one.user] = max(self._spent.get(one.user, 0), self._level)
        line.append(one)
        self._size += 1
        return out

    def remove(self, one: W) -> bool:
        """Let `one` leave without its turn; whether it was there."""
        line = self._lines.get(one.user)
        if line is None or one not in line:
            return False
        line.remove(one)
        self._left(one.user)
        return True

    def take(self, one: W) -> None:
        """It is the turn of `one`, who needn't be the first of its user's."""
        assert self.remove(one)
        self._level = max(self._level, self._spent[one.user])
        self._spent[one.user] += one.cost
        if len(self._spent) > len(self._lines) + IDLE_USERS:
            kept = {user: spent for user, spent in self._spent.items() if user in self._lines or spent > self._level}
            self._spent = kept

    def give_back(self, user: str, tokens: int) -> None:
        """Of what was taken, `tokens` weren't used."""
        if user in self._spent:
            self._spent[user] = max(self._spent[user] - tokens, 0)

    def in_order(self) -> Iterator[W]:
        """All who wait, as they would have their turns if nobody came."""
        heads = [(self._spent[user], line[0].order, user, 0) for user, line in self._lines.items()]
        heapq.heapify(heads)
        while heads:
            spent, _, user, place = heapq.heappop(heads)
            line = self._lines[user]
            yield line[place]
            if place + 1 < len(line):
                heapq.heappush(heads, (spent + line[place].cost, line[place + 1].order, user, place + 1))

    def oldest(self) -> list[W]:
        """Of each user the one that has waited longest."""
        return [line[0] for line in self._lines.values()]

    def _make_room(self, user: str) -> W:
        """The youngest of the user who has most, if that is more than `user` would have."""
        most = max(self._lines, key=lambda name: len(self._lines[name]), default=user)
        if len(self._lines.get(most, ())) <= len(self._lines.get(user, ())) + 1:
            raise QueueFullError(
                f"{self._size} requests are waiting, which is as many as may wait", hint="Try again in a while."
            )
        out = self._lines[most].pop()
        self._left(most)
        return out

    def _left(self, user: str) -> None:
        self._size -= 1
        if not self._lines[user]:
            del self._lines[user]
        if not self._lines:
            self._level = max(self._spent.values(), default=0)
