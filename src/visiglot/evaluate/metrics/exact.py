"""Exact match: the answer is one of the references, letter for letter."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from visiglot.evaluate.metrics import METRICS, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.types import Prediction


def normalise(text: str) -> str:
    """NFC, then without white space at both ends. Case, punctuation and inner spaces are kept."""
    return unicodedata.normalize("NFC", text).strip()


def is_exact(text: str, references: Sequence[str]) -> bool:
    """Whether `text` equals one of `references` after `normalise`."""
    answer = normalise(text)
    return any(answer == normalise(reference) for reference in references)


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """1 for each exact answer, else 0."""
    return mean_statistics([float(is_exact(*answer_and_references(row))) for row in rows], rows)


METRICS.add(
    "exact",
    Metric(
        name="exact",
        about="Share of answers that equal a reference (Unicode NFC, outer white space removed, case kept).",
        measure=measure,
        reduce=mean,
        tokenisation=lambda: "nfc+strip",
    ),
)
