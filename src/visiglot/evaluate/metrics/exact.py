"""Exact match: the answer is one of the references, letter for letter.

Both are put into Unicode's NFC and nothing else is done to them: no case folding, no stripping, no change of
punctuation. White space at an answer's ends is no matter here, since decoding leaves it off
(`visiglot.models.decode.text.decode_text`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from visiglot.evaluate.metrics import METRICS, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.types import Prediction


def is_exact(text: str, references: Sequence[str]) -> bool:
    """Whether `text` equals one of `references` in NFC."""
    answer = unicodedata.normalize("NFC", text)
    return any(answer == unicodedata.normalize("NFC", reference) for reference in references)


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """1 for each exact answer, else 0."""
    return mean_statistics([float(is_exact(*answer_and_references(row))) for row in rows], rows)


METRICS.add(
    "exact",
    Metric(
        name="exact",
        about="Share of answers that equal a reference, compared in Unicode's NFC and otherwise as they are.",
        measure=measure,
        reduce=mean,
        tokenisation=lambda: "nfc",
    ),
)
