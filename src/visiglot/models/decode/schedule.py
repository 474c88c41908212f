"""Many rows within a token budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from visiglot.models.decode.decoder import Answers, Decoder
from visiglot.models.decode.rows import Answer, Row

REFILL = 0.75
"""New rows are read when the ones in flight hold less than this share of the budget: fewer, larger prefills."""


def cost(row: Row) -> int:
    """Tokens that a row may hold at its end: prompt and new ones, for each of its beams."""
    return (len(row.sample.ids) + row.decoding.max_new_tokens) * row.decoding.beams


def generate(model: Any, processor: Any, rows: Iterable[Row], *, max_batch_tokens: int) -> Iterator[tuple[str, Answer]]:
    """Answer `rows`, which may be an endless stream, as (key, answer) in the order in which they finish.

    Rows are taken from `rows` when there is room for them, so their features needn't all be in memory. A row that is
    larger than the budget is decoded alone.

    Raises:
        PromptError: a row's pictures or length don't fit.
        ModelError: the LLM can't be decoded, or its scores aren't finite.
    """
    assert max_batch_tokens > 0
    decoder = Decoder(model, processor)
    collected = Answers(decoder)
    source = iter(rows)
    waiting = next(source, None)
    costs: dict[str, int] = {}
    while waiting is not None or costs:
        used = sum(costs.values())
        joining: list[Row] = []
        if used < REFILL * max_batch_tokens:
            while waiting is not None and (not (costs or joining) or used + cost(waiting) <= max_batch_tokens):
                joining.append(waiting)
                used += cost(waiting)
                waiting = next(source, None)
        costs.update((row.key, cost(row)) for row in joining)
        events = decoder.add(joining) if joining else decoder.step()
        for key, answer in collected.take(events):
            del costs[key]
            yield key, answer
