"""Recall of retrieval: is one of the right ones among the first that were found?

As in CLIP-like papers (and LAION's CLIP_benchmark): 1 for a query of which any right one is among the first K, else 0,
averaged over queries. An answer is the names of what was found, the best first, one a line.

Rows must have the fact "candidates": among how many was searched. Sets differ in size by language, so that their
recalls can't be compared without it.
"""

from __future__ import annotations

from functools import partial

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Metric, answer_and_references, mean, of_each_row
from visiglot.types import Prediction

DEPTHS = (1, 5, 10)
DEPTH = max(DEPTHS)
"""How many names an answer has."""


def is_found(row: Prediction, language: str, depth: int) -> bool:
    """Whether a reference is among the first `depth` lines of the answer."""
    text, references = answer_and_references(row)
    return not set(references).isdisjoint(text.split("\n")[:depth])


def candidates_of(row: Prediction, language: str = "") -> float:
    """Among how many was searched. Raises EvaluationError: the row doesn't say."""
    number = row.facts.get("candidates", "")
    if not (number.isascii() and number.isdecimal() and int(number)):
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has no number in its fact 'candidates', found {number!r}",
            hint="Retrieval needs to know among how many was searched.",
        )
    return float(number)


def chance_of(row: Prediction, language: str = "") -> float:
    return len(row.references) / candidates_of(row)


for depth in DEPTHS:
    METRICS.add(
        f"recall@{depth}",
        Metric(
            name=f"recall@{depth}",
            about=f"Share of queries of which a right one is among the first {depth} found."
            if depth > 1
            else "Share of queries of which the first one found is right.",
            measure=of_each_row(partial(is_found, depth=depth)),
            reduce=mean,
            tokenisation=lambda: "none",
        ),
    )
METRICS.add(
    "recall@1-chance",
    Metric(
        name="recall@1-chance",
        about="The recall@1 that an order at random gives.",
        measure=of_each_row(chance_of),
        reduce=mean,
        tokenisation=lambda: "none",
        of_questions=True,
    ),
)
METRICS.add(
    "candidates",
    Metric(
        name="candidates",
        about="Among how many pictures, or texts, was searched.",
        measure=of_each_row(candidates_of),
        reduce=mean,
        tokenisation=lambda: "none",
        percent=False,
        maximum=None,
        of_questions=True,
    ),
)
