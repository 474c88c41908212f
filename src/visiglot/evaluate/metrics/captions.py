"""Captions against references in tokens: CIDEr-D, BLEU-1 to BLEU-4 and ROUGE-L, once for each tokenisation.

A metric's name is `<measure>-<tokenisation>`: `cider-visiglot` and `cider-ptb` of the same captions differ by a factor
of 40 in Japanese and mustn't be compared. `ptb` is what COCO's evaluation does in every language, `mblip` what mBLIP's
did, `visiglot` is right for every script (`visiglot.evaluate.segmentation`). Given the tokens, the values are
pycocoevalcap's.

Texts never pass through a file of lines, so what stands in one (an empty caption, a line break, U+2028) can't shift
another. CIDEr-D's document frequencies are those of the rows that are scored: a row with an error is no document. Its
interval resamples the images' values with the frequencies kept as they are in the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from visiglot.evaluate.metrics import (
    METRICS,
    Array,
    Measure,
    Metric,
    Statistics,
    answer_and_references,
    mean,
    mean_statistics,
)
from visiglot.evaluate.metrics.bleu import bleu, bleu_statistics
from visiglot.evaluate.metrics.cider import cider
from visiglot.evaluate.metrics.ngrams import LONGEST, Counted, count_ngrams
from visiglot.evaluate.metrics.rouge import rouge_l
from visiglot.evaluate.segmentation import SEGMENTATIONS, Segmentation
from visiglot.types import Prediction

Texts = tuple[tuple[str, tuple[str, ...]], ...]
"""Of each image its candidate and its references."""
Tokenised = list[list[str]]
_KEPT = 4
"""Sets of captions whose tokens and n-grams are kept, for the metrics that share them."""


def texts_of(rows: Sequence[Prediction]) -> Texts:
    """The rows' answers and references.

    Raises:
        EvaluationError: a row has no reference.
    """
    return tuple(answer_and_references(row) for row in rows)


@lru_cache(maxsize=_KEPT)
def tokens_of(texts: Texts, segmentation: str, language: str) -> tuple[Tokenised, list[Tokenised]]:
    """The candidates' tokens, and of each image those of its references."""
    flat = [text for own, references in texts for text in (own, *references)]
    tokens = iter(SEGMENTATIONS.get(segmentation).tokenise(flat, language))
    pairs = [(next(tokens), [next(tokens) for _ in references]) for _, references in texts]
    return [own for own, _ in pairs], [references for _, references in pairs]


@lru_cache(maxsize=_KEPT)
def ngrams_of(texts: Texts, segmentation: str, language: str) -> Counted:
    """The n-grams of candidates and references."""
    return count_ngrams(*tokens_of(texts, segmentation, language))


@lru_cache(maxsize=_KEPT)
def bleu_counts_of(texts: Texts, segmentation: str, language: str) -> Array:
    """`bleu_statistics` of the captions, the same for all four orders."""
    return bleu_statistics(ngrams_of(texts, segmentation, language))


def cider_measure(segmentation: str) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        return mean_statistics(cider(ngrams_of(texts_of(rows), segmentation, language)).tolist(), rows)

    return measure


def rouge_measure(segmentation: str) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        candidates, references = tokens_of(texts_of(rows), segmentation, language)
        return mean_statistics([rouge_l(own, others) for own, others in zip(candidates, references)], rows)

    return measure


def bleu_measure(segmentation: str) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        counts = bleu_counts_of(texts_of(rows), segmentation, language)
        return Statistics(counts, tuple(row.group or row.id for row in rows))

    return measure


def bleu_reduce(order: int) -> Callable[[Array], Array]:
    return lambda sums: bleu(sums, order)


def _add(name: str, about: str, segmentation: Segmentation, measure: Measure, reduce: Callable[[Array], Array]) -> None:
    """A row for one measure and one tokenisation."""
    METRICS.add(
        f"{name}-{segmentation.name}",
        Metric(
            name=f"{name}-{segmentation.name}",
            about=f"{about} as pycocoevalcap computes it. {segmentation.about}",
            measure=measure,
            reduce=reduce,
            tokenisation=segmentation.signature,
            maximum=None if name == "cider" else 1.0,
        ),
    )


for _name, _row in SEGMENTATIONS.items():
    _add("cider", "CIDEr-D, written times 100 as papers do,", _row, cider_measure(_name), mean)
    _add("rouge-l", "ROUGE-L", _row, rouge_measure(_name), mean)
    for _order in range(1, LONGEST + 1):
        _about = f"Corpus BLEU of up to {_order} words in a row" if _order > 1 else "Corpus BLEU of single words"
        _add(f"bleu{_order}", _about, _row, bleu_measure(_name), bleu_reduce(_order))
