"""Choices that follow from where an example stands among those of its language, and never from what it says.

So they need no pass over the source, and nothing that is chosen tells anything of an answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from visiglot.data.hashing import hash64, mixed
from visiglot.data.permutation import permuted
from visiglot.data.source import Indices

ChoiceName = Literal["rotation", "draw"]

K = TypeVar("K", bound=Hashable)


def key_of(*parts: object) -> int:
    """64 bits that depend on nothing but `parts`."""
    return hash64("\x1f".join(map(str, parts)))


def coin(numbers: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """64 random bits for each number [n]."""
    return mixed(mixed(numbers.astype(np.uint64)) ^ np.uint64(key))


def pick(count: int, rank: int, size: int, how: ChoiceName, key: int, offset: int = 0) -> int:
    """One of `count` things for the example `rank` of `size`.

    rotation: over a shuffle of the ranks, so that each thing is picked equally often, to one; `offset` examples were
    before them. draw: at random.
    """
    if count == 1:
        return 0
    if how == "draw":
        return int(coin(np.array([rank]), key)[0] % np.uint64(count))
    return (offset + permuted(rank, size, (key,))) % count


def offsets(sizes: Iterable[tuple[K, str, int]]) -> dict[K, int]:
    """Where the rotation of each of several parts goes on: after all parts of the same group before it.

    Args:
        sizes: (part, group, examples of the part).
    """
    before: dict[str, int] = {}
    found: dict[K, int] = {}
    for part, group, size in sizes:
        found[part] = before.get(group, 0)
        before[group] = found[part] + size
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """An example's rank among the `size` examples of its language."""

    language: str
    rank: int
    size: int


class Places:
    """Where examples stand among those of their language.

    Args:
        by_language: of the source.
    """

    def __init__(self, by_language: Mapping[str, Indices]) -> None:
        self.by_language = by_language
        self._orders: dict[str, NDArray[np.intp] | None] = {}

    def find(self, language: str, index: int) -> Place | None:
        """The place of the source's example `index`, which is in `language`; None where it isn't among them."""
        indices = self.by_language.get(language)
        if indices is None or not len(indices):
            return None
        if language not in self._orders:
            in_order = bool((indices[1:] > indices[:-1]).all())
            self._orders[language] = None if in_order else np.argsort(indices)
        order = self._orders[language]
        at = int(np.searchsorted(indices, indices.dtype.type(index), sorter=order))  # other types copy them all
        if at == len(indices):
            return None
        rank = at if order is None else int(order[at])
        return Place(language, rank, len(indices)) if indices[rank] == index else None


class Halves:
    """Each language's examples in two halves that differ by one at most.

    Of two that follow each other, the first and second, the third and fourth, a coin says which is on which side. So
    no three in a row are on one side, and the source's order says nothing of the side.
    """

    def __init__(self, key: int) -> None:
        self.key = key

    def sides(self, size: int, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Side of each rank from `start` to `stop` (default: `size`), of `size`."""
        ranks = np.arange(start, size if stop is None else stop)
        return ((coin(ranks // 2, self.key) ^ ranks.astype(np.uint64)) & np.uint64(1)).astype(bool)

    def side(self, place: Place) -> bool:
        return bool(self.sides(place.size, place.rank, place.rank + 1)[0])

    def count(self, size: int, side: bool) -> int:
        """How many of `size` are on a side."""
        return size // 2 + (size % 2 and bool(self.sides(size, size - 1)[0]) == side)
