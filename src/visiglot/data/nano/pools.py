"""Hard negatives that tell nothing by themselves.

Within a pool (concepts of one subgroup that can be asked about in the same style and language) the concepts are put
on a ring in a hashed order, and the negatives of each are its successors. So in every pool each name is right as
often as it is wrong, and a model that sees only the words can't do better than chance.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

from visiglot.data.nano.concepts import Concept


def draw(*key: object) -> random.Random:
    """A generator that depends on nothing but `key`."""
    text = "\x1f".join(map(str, key))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def hash_order(ids: Sequence[str], *key: object) -> list[str]:
    """`ids` in an order that depends on nothing but `key` and the ids themselves."""
    return sorted(ids, key=lambda id: hashlib.sha256("\x1f".join(map(str, (*key, id))).encode()).digest())


def pool_concepts(ids: Sequence[str], concepts: Mapping[str, Concept], least: int) -> list[list[str]]:
    """`ids` in pools of at least `least`: by subgroup; small subgroups of a category together; what is then still too
    small together. One pool smaller than `least` is left out.
    """
    pools: list[list[str]] = []
    rest: list[str] = []
    categories: dict[str, dict[str, list[str]]] = {}
    for id in ids:
        concept = concepts[id]
        categories.setdefault(concept.category, {}).setdefault(concept.subgroup, []).append(id)
    for subgroups in categories.values():
        large = [members for members in subgroups.values() if len(members) >= least]
        small = [id for members in subgroups.values() if len(members) < least for id in members]
        if len(small) >= least:
            large.append(small)
        elif large:
            min(large, key=len).extend(small)
        else:
            rest += small
        pools += large
    if len(rest) >= least:
        pools.append(rest)
    elif rest and pools:
        min(pools, key=len).extend(rest)
    return pools


def successors(ids: Sequence[str], concepts: Mapping[str, Concept], count: int, *key: object) -> dict[str, list[str]]:
    """The `count` negatives of each concept that has them: its successors on its pool's ring, in the order of `key`."""
    negatives: dict[str, list[str]] = {}
    for pool in pool_concepts(ids, concepts, count + 1):
        ring = hash_order(pool, *key)
        for at, id in enumerate(ring):
            negatives[id] = [ring[(at + step) % len(ring)] for step in range(1, count + 1)]
    return negatives
