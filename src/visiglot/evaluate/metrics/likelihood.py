"""Accuracy by ranking: the choice that the model finds likeliest is the right one.

The second metric divides each choice's log-likelihood by its number of characters (in NFC) first, as the `acc_norm` of
EleutherAI's evaluation harness does, so that long choices aren't at a disadvantage. Of equals the first counts. Answers
that weren't ranked are undetermined.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Measure, Metric, Statistics, mean, mean_statistics
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.types import Prediction


def likeliest(row: Prediction, *, by_character: bool = False) -> int:
    """The place of the likeliest choice, its likelihood taken by the character or whole."""
    lengths = [len(unicodedata.normalize("NFC", choice)) or 1 for choice in row.choices]
    scores = np.asarray(row.likelihoods) / (np.asarray(lengths) if by_character else 1)
    return int(np.argmax(scores))


def right_choices(row: Prediction) -> set[int]:
    """The places of the row's right choices: a reference is a choice's letter or, where it is none, its text.

    Raises:
        EvaluationError: no reference is among the choices.
    """
    found = set()
    for reference in row.references:
        if len(reference) == 1 and reference in LETTERS[: len(row.choices)]:
            found.add(LETTERS.index(reference))
        else:
            found |= {place for place, choice in enumerate(row.choices) if choice == reference}
    if not found:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r}: none of its references "
            f"({', '.join(map(repr, row.references)) or 'there is none'}) is among the {len(row.choices)} choices",
            hint="Give a choice's letter or its text as the reference.",
        )
    return found


def _measure(by_character: bool) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        ranked = [row for row in rows if row.likelihoods]
        values = [float(likeliest(row, by_character=by_character) in right_choices(row)) for row in ranked]
        statistics = mean_statistics(values, ranked)
        return Statistics(statistics.values, statistics.groups, len(rows) - len(ranked))

    return measure


METRICS.add(
    "likelihood-accuracy",
    Metric(
        name="likelihood-accuracy",
        about="Share of questions whose right choice is the likeliest one for the model.",
        measure=_measure(False),
        reduce=mean,
        tokenisation=lambda: "none",
    ),
)
METRICS.add(
    "likelihood-accuracy-by-character",
    Metric(
        name="likelihood-accuracy-by-character",
        about="Share of questions whose right choice is the likeliest one, log-likelihoods divided by characters.",
        measure=_measure(True),
        reduce=mean,
        tokenisation=lambda: "nfc",
    ),
)
