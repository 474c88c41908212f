"""Accuracy of questions that are asked several times: right if every time right.

MMBench asks each question once for each rotation of its options, MMMB asks the yes-or-no questions in pairs. The rows
of one question share `index % 1_000_000` (VLMEvalKit's rule, for both). A question of which a row is missing, failed or
cut off by a limit could only look easier; it is counted as undetermined and left out of the mean.

MMMB has two scores that mustn't be mixed: by pair (of its paper, 1,710 units a language) and by row (of today's
VLMEvalKit: `choice-accuracy`). Both come with their N.

Rows must have the facts "index" and "index_rows": the row's number, and how many rows of the whole set share its
question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Array, Measure, Metric, Statistics, always, mean
from visiglot.evaluate.metrics.choice import BY, READERS, TOKENISATIONS, Reader, is_right
from visiglot.types import Prediction

ROTATION = 1_000_000
"""What is added to a question's number each time that it is asked again."""


def questions(rows: Sequence[Prediction]) -> dict[int, list[Prediction]]:
    """The rows by their question.

    Raises:
        EvaluationError: a row lacks its number, or the number of rows of its question.
    """
    found: dict[int, list[Prediction]] = {}
    for row in rows:
        found.setdefault(_number(row, "index") % ROTATION, []).append(row)
    return found


def is_whole(asked: Sequence[Prediction]) -> bool:
    """Whether all rows of a question are there. Raises EvaluationError: it isn't said how many there are."""
    return len(asked) >= _number(asked[0], "index_rows")


def folded(rows: Sequence[Prediction], is_right: Callable[[Prediction], bool]) -> Statistics:
    """1 for each question whose rows are all right, else 0; incomplete questions are undetermined."""
    values, groups, incomplete = [], [], 0
    for number, asked in questions(rows).items():
        if not is_whole(asked):
            incomplete += 1
            continue
        values.append(float(all(is_right(row) for row in asked)))
        groups.append(asked[0].group or str(number))
    table: Array = np.ones((len(values), 2))
    table[:, 0] = values
    return Statistics(table, tuple(groups), incomplete)


def _number(row: Prediction, fact: str) -> int:
    value = row.facts.get(fact, "")
    if not (value.isascii() and value.isdecimal()):
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has no number in its fact {fact!r}, found {value!r}",
            hint="Circular and pair accuracy need the facts `index` and `index_rows` of every row.",
        )
    return int(value)


def _measure(read: Reader) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        return folded(rows, lambda row: is_right(row, language, read))

    return measure


_ABOUT = {
    "circular-accuracy": "Share of questions answered rightly in every rotation of the options",
    "pair-accuracy": "Share of questions answered rightly each time they are asked: both of a yes-or-no pair, or one",
}

for name, about in _ABOUT.items():
    for ending, reader in READERS.items():
        METRICS.add(
            f"{name}{ending}",
            Metric(
                name=f"{name}{ending}",
                about=f"{about}{BY[ending]}.",
                measure=_measure(reader),
                reduce=mean,
                tokenisation=always(TOKENISATIONS[ending]),
            ),
        )
