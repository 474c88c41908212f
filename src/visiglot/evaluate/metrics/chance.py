"""What guessing gives, and among how many choices: they stand beside accuracies whose choices differ by language.

Babel-ImageNet has from 18 to 1,000 classes a language, so that its accuracies can't be compared without these.
"""

from __future__ import annotations

from visiglot.evaluate.metrics import METRICS, Metric, mean, of_each_row
from visiglot.evaluate.metrics.likelihood import right_choices
from visiglot.types import Prediction


def chance_of(row: Prediction, language: str = "") -> float:
    """Share of the row's choices that are right. Raises EvaluationError: none is."""
    return len(right_choices(row)) / len(row.choices)


def number_of(row: Prediction, language: str = "") -> float:
    return float(len(row.choices))


METRICS.add(
    "chance",
    Metric(
        name="chance",
        about="Share of right answers that guessing among a question's choices gives.",
        measure=of_each_row(chance_of),
        reduce=mean,
        tokenisation=lambda: "none",
        of_questions=True,
    ),
)
METRICS.add(
    "choices",
    Metric(
        name="choices",
        about="Number of choices that a question has, on average.",
        measure=of_each_row(number_of),
        reduce=mean,
        tokenisation=lambda: "none",
        percent=False,
        maximum=None,
        of_questions=True,
    ),
)
