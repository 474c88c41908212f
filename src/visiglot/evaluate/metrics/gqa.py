"""GQA's accuracy, which xGQA uses as it is: the answer is the gold answer.

The official `eval.py` compares the strings and does nothing to them. Models that write sentences are usually scored
after LLaVA's conversion (`scripts/convert_gqa_for_eval.py`), which lower-cases the answer and cuts off full stops;
that is another number and has a name of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from visiglot.evaluate.metrics import METRICS, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.types import Prediction


def is_gqa_match(text: str, references: Sequence[str]) -> bool:
    """Whether `text` is one of `references`, compared as strings."""
    return text in references


def is_llava_gqa_match(text: str, references: Sequence[str]) -> bool:
    """Whether `text`, its full stops at the end cut off and in lower case, is one of `references` as they are."""
    return text.rstrip(".").lower() in references


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """1 for each answer that is a gold answer, else 0."""
    return mean_statistics([float(is_gqa_match(*answer_and_references(row))) for row in rows], rows)


def measure_llava(rows: Sequence[Prediction], language: str) -> Statistics:
    """1 for each answer that is a gold answer after LLaVA's conversion, else 0."""
    return mean_statistics([float(is_llava_gqa_match(*answer_and_references(row))) for row in rows], rows)


METRICS.add(
    "gqa-accuracy",
    Metric(
        name="gqa-accuracy",
        about="Share of answers that equal the gold answer as strings: the accuracy of GQA's eval.py and of xGQA.",
        measure=measure,
        reduce=mean,
        tokenisation=lambda: "none",
    ),
)
METRICS.add(
    "gqa-accuracy-llava",
    Metric(
        name="gqa-accuracy-llava",
        about="GQA's accuracy after LLaVA's conversion of the answers: lower case, no full stop at the end.",
        measure=measure_llava,
        reduce=mean,
        tokenisation=lambda: "llava-gqa",
    ),
)
