"""What is kept for validation: decided by the rows of a source, before any task, from their numbers alone.

Every row has a rank that follows from its number. Of each language the rows with the lowest ranks are held out, with
all that is in them. So every stage and every task on the same source holds out the same, whatever it asks and in which
language it is answered. Finding them takes one look at each row's number, some at a time, and reads no example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visiglot.data.hashing import hash64, mixed
from visiglot.data.source import Indices, Source

CHUNK = 2**20
"""Examples whose ranks are in memory together."""

_KEY = np.uint64(hash64("held out"))


@runtime_checkable
class Derived(Protocol):
    """A source that makes something else of another one's examples, under the same numbers."""

    raw: Source


@runtime_checkable
class SharedRows(Protocol):
    """A source of which several examples may be in one row. Its `by_language` is ascending."""

    @property
    def row_numbers(self) -> Indices:
        """The row of each example, ascending [n]."""


def held(size: int, holdout: int) -> int:
    """How many of a source's `size` examples of a language are held out: never more than half."""
    return min(holdout, size // 2)


def held_out(source: Source, holdout: int) -> dict[str, tuple[int, ...]]:
    """FLORES-200 code -> places in the source's `by_language` of what is held out, those of the lowest ranks first.

    At least `holdout` of each language of the source as it is before its task: more only where rows have several
    examples, fewer where they would be more than half.
    """
    if not holdout:
        return dict.fromkeys(source.by_language, ())
    raw = source.raw if isinstance(source, Derived) else source
    numbers = _held_numbers(raw, holdout)
    found = {}
    for code, indices in source.by_language.items():
        places = _places(indices, numbers)
        found[code] = tuple(places[places >= 0].tolist())
    return found


def _held_numbers(source: Source, holdout: int) -> NDArray[np.int64]:
    """Numbers of the examples that are held out, by rank."""
    of_example = source.row_numbers if isinstance(source, SharedRows) else None
    wanted = [_lowest(indices, of_example, held(len(indices), holdout)) for indices in source.by_language.values()]
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *wanted]))
    rows = rows[np.argsort(_ranks(rows))]
    return rows if of_example is None else _whole_rows(rows, of_example, source.by_language)


def _lowest(indices: Indices, of_example: Indices | None, count: int) -> NDArray[np.int64]:
    """Rows of the `count` examples of the lowest ranks."""
    best = np.zeros(0, np.int64)
    for start in range(0, len(indices) if count else 0, CHUNK):
        some = indices[start : start + CHUNK]
        best = np.concatenate([best, np.asarray(some if of_example is None else of_example[some], np.int64)])
        if len(best) > count:
            best = best[np.argpartition(_ranks(best), count - 1)[:count]]
    return best


def _ranks(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    return mixed(rows.astype(np.uint64) ^ _KEY)


def _whole_rows(rows: NDArray[np.int64], of_example: Indices, by_language: Mapping[str, Indices]) -> NDArray[np.int64]:
    """All examples of the rows; without the rows that would make it more than half of a language."""
    wanted = rows.astype(of_example.dtype)  # of one type, or all are copied
    starts = np.searchsorted(of_example, wanted)
    sizes = np.searchsorted(of_example, wanted, side="right") - starts
    numbers = np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    languages = np.full(len(numbers), -1)
    for code, indices in enumerate(by_language.values()):
        languages[_places(indices, numbers) >= 0] = code
    left = [len(indices) // 2 for indices in by_language.values()]
    kept = []
    for stop, size in zip(np.cumsum(sizes).tolist(), sizes.tolist(), strict=True):
        codes, counts = np.unique(languages[stop - size : stop], return_counts=True)
        needs = {code: count for code, count in zip(codes.tolist(), counts.tolist(), strict=True) if code >= 0}
        if all(count <= left[code] for code, count in needs.items()):
            kept.append(np.arange(stop - size, stop))
            for code, count in needs.items():
                left[code] -= count
    chosen: NDArray[np.int64] = numbers[np.concatenate([np.zeros(0, np.int64), *kept])]
    return chosen


def _places(indices: Indices, numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Place of each number in `indices`, -1 where it isn't there."""
    if not len(indices):
        return np.full(len(numbers), -1)
    order = None if bool((indices[1:] > indices[:-1]).all()) else np.argsort(indices)
    at = np.searchsorted(indices, numbers.astype(indices.dtype), sorter=order)  # of one type, or all are copied
    at = np.minimum(at, len(indices) - 1)
    places = at if order is None else order[at]
    return np.where(indices[places] == numbers, places, -1)
