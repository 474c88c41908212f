"""A shuffled order that nobody has to hold: the place of one element at a time, in constant memory."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from math import isqrt

ROUNDS = 8

_MASK = 2**64 - 1


def permuted(index: int, size: int, key: tuple[int, ...]) -> int:
    """Where a permutation of range(size) that depends on nothing but `size` and `key` takes `index`.

    A Feistel network over pairs (left, right) of a rectangle that holds range(size) with less than a side to spare
    (Black and Rogaway, 2002, "Ciphers with arbitrary finite domains"): in each round one half moves, modulo its side,
    by a hash of the other, which can be undone, so the whole is a bijection of the rectangle. Where it leads outside
    range(size) it is walked on until it doesn't.

    Args:
        index: in range(size).
        key: any integers; other keys give other permutations.

    Raises:
        IndexError: `index` isn't in range(size).
    """
    if not 0 <= index < size:
        raise IndexError(f"a permutation of {size} has no place {index}")
    rows, columns, keys = _network(size, key)
    while True:
        left, right = divmod(index, columns)
        for at in range(0, ROUNDS, 2):
            left = (left + _mix(right ^ keys[at])) % rows
            right = (right + _mix(left ^ keys[at + 1])) % columns
        index = left * columns + right
        if index < size:
            return index


@lru_cache(maxsize=2**14)
def _network(size: int, key: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    """Sides of the rectangle, and a key of 64 bits for each round."""
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    text = ",".join(map(str, (size, *key))).encode()
    digest = hashlib.blake2b(text, digest_size=64).digest()
    return rows, columns, tuple(int.from_bytes(digest[8 * n : 8 * n + 8], "little") for n in range(ROUNDS))


def _mix(value: int) -> int:
    """A hash of 64 bits (the finaliser of SplitMix64, Steele et al., 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
