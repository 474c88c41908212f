"""What the prompts of several rows have in common, so that it is read once.

Shapes: R rows, G groups of rows whose prompts begin alike, M distinct prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visiglot.models.decode.rows import Row

FIRST = 16
"""Tokens that prompts must begin with alike to be looked at as a group."""

WORTH = 32
"""Tokens that sharing must save. It reads the LLM's weights once more, which takes as long as some ten tokens do."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Beginnings that rows share.

    Args:
        groups: the group of each row, counted in the order of the rows.
        lengths: tokens that the rows of each group share. Each row has at least one more.
    """

    groups: tuple[int, ...]
    lengths: tuple[int, ...]


def shared_prefixes(rows: Sequence[Row], *, reads_prompt: bool) -> Prefixes | None:
    """The beginnings that `rows`, of a causal LLM, share; None when reading them once wouldn't save enough.

    Args:
        reads_prompt: the connector reads the prompt, so that a picture's tokens differ between rows.
    """
    members: dict[tuple[object, ...], list[int]] = {}
    for position, row in enumerate(rows):
        alone = position if reads_prompt and row.features is not None else -1
        members.setdefault((id(row.features), alone, row.sample.ids[:FIRST]), []).append(position)
    groups, lengths = [0] * len(rows), []
    for group, positions in enumerate(members.values()):
        prompts = [rows[position].sample.ids for position in positions]
        lengths.append(min(_common(prompts), min(map(len, prompts)) - 1))
        for position in positions:
            groups[position] = group
    sizes = [len(row.sample.ids) for row in rows]
    own = max(size - lengths[group] for size, group in zip(sizes, groups))
    saved = len(rows) * max(sizes) - (len(lengths) * max(lengths) + len(rows) * own)
    return Prefixes(tuple(groups), tuple(lengths)) if saved >= WORTH else None


def _common(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many ids all of `prompts` begin with."""
    first, last = min(prompts), max(prompts)  # the two that differ earliest, in the order of words in a dictionary
    return next((count for count, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))


def distinct_prompts(rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
    """One row for each of the M distinct prompts, pictures included, and for each row which of them is its own."""
    found: dict[tuple[object, ...], int] = {}
    distinct: list[Row] = []
    entries: list[int] = []
    for row in rows:
        prompt = (id(row.features), row.sample.ids, row.sample.prompt_length)
        if prompt not in found:
            found[prompt] = len(distinct)
            distinct.append(row)
        entries.append(found[prompt])
    return distinct, entries
