"""chrF (Popović, 2015) as sacreBLEU computes it, for single sentences, averaged over the answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from visiglot.errors import MissingExtraError
from visiglot.evaluate.metrics import METRICS, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.types import Prediction


@cache
def _sacrebleu() -> Any:
    """sacreBLEU's chrF with its defaults: character 1- to 6-grams, no word n-grams, beta 2, white space removed.

    Raises:
        MissingExtraError: sacreBLEU isn't installed.
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "eval") from error
    return CHRF()


def signature() -> str:
    """sacreBLEU's signature of the metric, number of references left to the rows, and how sentences are joined."""
    from sacrebleu import __version__

    scorer = _sacrebleu()
    return (
        f"sacrebleu:case:{'lc' if scorer.lowercase else 'mixed'}|eff:{'no' if scorer.eps_smoothing else 'yes'}"
        f"|nc:{scorer.char_order}|nw:{scorer.word_order}|space:{'yes' if scorer.whitespace else 'no'}"
        f"|version:{__version__}|mean-of-sentences"
    )


@cache
def sentence_chrf(text: str, references: tuple[str, ...]) -> float:
    """sacreBLEU's sentence-level chrF2 of `text` against the best of `references`, 0 to 100."""
    return float(_sacrebleu().sentence_score(text, list(references)).score)


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """The sentence-level score of each answer."""
    return mean_statistics([sentence_chrf(*answer_and_references(row)) for row in rows], rows)


METRICS.add(
    "chrf-sentence",
    Metric(
        name="chrf-sentence",
        about="Mean over the answers of sacreBLEU's sentence-level chrF2 (character 1- to 6-grams), 0 to 100.",
        measure=measure,
        reduce=mean,
        tokenisation=signature,
        percent=False,
        maximum=100.0,
    ),
)
