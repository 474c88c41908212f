"""Answers that begin with the question in English: the answer alone is scored, the rest is kept beside it."""

from __future__ import annotations

from dataclasses import replace

from visiglot.data.tasks.pivot import read_pivot
from visiglot.types import Prediction

TRANSLATION, NO_PIVOT = "translation", "no_pivot"
OF_ANSWER = frozenset({TRANSLATION, NO_PIVOT})
"""Facts of a prediction that its answer says and not its example: the question as the model put it in English; or that
the answer had no such part, so that all of it is scored."""


def without_pivot(row: Prediction) -> Prediction:
    """The row with the answer that stands behind the pivot; a failure stays as it is."""
    if row.text is None:
        return row
    parts = read_pivot(row.text)
    fact = {NO_PIVOT: "true"} if parts.translation is None else {TRANSLATION: parts.translation}
    return replace(row, text=parts.answer, facts={**row.facts, **fact})
