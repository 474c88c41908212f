"""MTVQA's accuracy, as its `scripts/acc.py` (bytedance/MTVQA, 9659063) computes it.

An answer is right that contains the gold answer anywhere, inside a word too, both in lower case. Full stops are taken
out of the answer and not out of the gold answer: a gold answer with one can't be met.
"""

from __future__ import annotations

from collections.abc import Sequence

from visiglot.evaluate.metrics import METRICS, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.types import Prediction


def is_mtvqa_match(text: str, references: Sequence[str]) -> bool:
    """Whether `text`, without full stops, contains one of `references`, in lower case."""
    answer = text.strip().lower().replace(".", "")
    return any(reference.strip().lower() in answer for reference in references)


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """1 for each answer that contains a gold answer, else 0."""
    return mean_statistics([float(is_mtvqa_match(*answer_and_references(row))) for row in rows], rows)


METRICS.add(
    "mtvqa-accuracy",
    Metric(
        name="mtvqa-accuracy",
        about="MTVQA's accuracy: share of answers that contain the gold answer in lower case, inside a word too.",
        measure=measure,
        reduce=mean,
        tokenisation=lambda: "mtvqa-acc",
    ),
)
