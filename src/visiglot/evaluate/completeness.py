"""Whether answers that were made elsewhere are all that there should be: what is missing is never just left out."""

from __future__ import annotations

from collections.abc import Sequence

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BenchmarkData
from visiglot.types import Prediction

_SHOWN = 5
"""Ids that a message names."""


def check_complete(
    rows: Sequence[Prediction], data: BenchmarkData, *, prompt_set: str | None = None, limit: int | None = None
) -> None:
    """Hold the rows of one benchmark, split, prompt set and language against the benchmark's own data.

    Args:
        data: of the benchmark.
        prompt_set: the benchmark's name of the prompt set, where the rows' has an ending (`native-likelihood`).
        limit: as it was when the answers were made.

    Raises:
        EvaluationError: a question has no row, a row no question or other references.
    """
    if not rows:
        return
    first = rows[0]
    examples = data.examples(first.language, split=first.split, prompt_set=prompt_set or first.prompt_set, limit=limit)
    references = {example.id: example.references for example in examples}
    where = f"{first.benchmark}, {first.prompt_set}, {first.language}"
    answered = {row.id for row in rows}
    if lacking := [id for id in references if id not in answered]:
        raise EvaluationError(
            f"{where}: {len(lacking):,} of {len(references):,} questions have no row: {some(lacking)}",
            hint="Give every question a row; one that couldn't be answered has an `error` and `text` null.",
        )
    if unknown := [row.id for row in rows if row.id not in references]:
        raise EvaluationError(
            f"{where}: {len(unknown):,} of {len(rows):,} rows are of no question of split {first.split}: "
            f"{some(unknown)}",
            hint=f"Were they made from other data? Here is revision {data.revision}.",
        )
    if other := [row.id for row in rows if row.references != references[row.id]]:
        raise EvaluationError(
            f"{where}: {len(other):,} of {len(rows):,} rows have other references than the data: {some(other)}",
            hint=f"Were they made from other data? Here is revision {data.revision}.",
        )


def some(ids: Sequence[str]) -> str:
    """The first few of them, for a message."""
    return ", ".join(map(repr, ids[:_SHOWN])) + (", ..." if len(ids) > _SHOWN else "")
