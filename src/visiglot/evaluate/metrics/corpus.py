"""Corpus BLEU (Papineni et al., 2002), chrF and chrF++ (Popović, 2015 and 2017) as sacreBLEU computes them.

The counts come from sacreBLEU, which sums them for its own bootstrap too; only the last step, from sums to values, is
done here, for many sums at once. BLEU's words follow from the language's segmentation: sacreBLEU's `13a` where words
stand between spaces, `zh` where characters count as words (Chinese), and `char` in other languages without spaces:
sacreBLEU has no words for Thai, Khmer, Lao, Burmese and Tibetan, its `ja-mecab` needs one more package and a
dictionary, its `spm` and `flores200` fetch a model. So Japanese BLEU here isn't that of papers which used MeCab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np

from visiglot.errors import MissingExtraError
from visiglot.evaluate.metrics import METRICS, Array, Measure, Metric, Statistics, answer_and_references
from visiglot.languages import language as language_row
from visiglot.types import Prediction

TOKENIZERS = {"spaces": "13a", "characters": "zh"}
"""`Language.segmentation` -> sacreBLEU's tokenizer; every other segmentation is `char`."""
_ORDER = 4
_BETA = 2


def tokenizer_of(code: str) -> str:
    """sacreBLEU's tokenizer for a language."""
    return TOKENIZERS.get(language_row(code).segmentation, "char")


@cache
def _bleu(tokenizer: str) -> Any:
    """sacreBLEU's BLEU with its defaults: case kept, exponential smoothing, orders 1 to 4.

    Raises:
        MissingExtraError: sacreBLEU isn't installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "eval") from error
    return BLEU(tokenize=tokenizer, force=True)


@cache
def _chrf(words: int) -> Any:
    """sacreBLEU's chrF with its defaults: character 1- to 6-grams, beta 2; and word n-grams of up to `words`.

    Raises:
        MissingExtraError: sacreBLEU isn't installed.
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "eval") from error
    return CHRF(word_order=words, beta=_BETA)


def _statistics(scorer: Any, rows: Sequence[Prediction]) -> Statistics:
    """sacreBLEU's counts of each answer against its references, of which rows may have different numbers."""
    pairs = [answer_and_references(row) for row in rows]
    streams = list(zip_longest(*(references for _, references in pairs)))
    counts = scorer._extract_corpus_statistics([text for text, _ in pairs], streams)
    return Statistics(np.array(counts, dtype=np.float64), tuple(row.group or row.id for row in rows))


def bleu_measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """[U, 10] tokens of the answer and of the closest reference; of each order the n-grams in common, the answer's."""
    return _statistics(_bleu(tokenizer_of(language)), rows)


def bleu_reduce(sums: Array) -> Array:
    """[..., 10] -> [...] BLEU, 0 to 100. The k-th order without a match counts as half as many as the (k-1)-th such
    order; an order that no answer is long enough for makes it 0, and so does not one word in common."""
    own, closest = sums[..., 0], sums[..., 1]
    common, total = sums[..., 2 : 2 + _ORDER], sums[..., 2 + _ORDER :]
    smoothed = np.where(common > 0, common, 0.5 ** np.cumsum(common == 0, axis=-1))
    scored = (total > 0).all(axis=-1) & (common > 0).any(axis=-1)
    total, own = np.maximum(total, 1.0), np.maximum(own, 1.0)
    value: Array = 100 * np.exp(np.log(smoothed / total).mean(axis=-1) + np.minimum(0.0, 1 - closest / own))
    return np.where(scored, value, 0.0)


def chrf_measure(words: int) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        return _statistics(_chrf(words), rows)

    return measure


def chrf_reduce(sums: Array) -> Array:
    """[..., 3 * orders] n-grams of the answers, of their best references, in common -> [...] chrF, 0 to 100: precision
    and recall are means over the orders that both sides have."""
    own, theirs, common = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    there = (own > 0) & (theirs > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision = np.where(there, common / np.maximum(own, 1.0), 0.0).sum(axis=-1) / orders
    recall = np.where(there, common / np.maximum(theirs, 1.0), 0.0).sum(axis=-1) / orders
    below = _BETA**2 * precision + recall
    value: Array = 100 * (1 + _BETA**2) * precision * recall / np.where(below > 0, below, 1.0)
    return value


def bleu_signature() -> str:
    """sacreBLEU's signature; its tokenizer by language."""
    from sacrebleu import __version__

    return f"sacrebleu:nrefs:var|case:mixed|eff:no|tok:13a, zh or char by language|smooth:exp|version:{__version__}"


def chrf_signature(words: int) -> Callable[[], str]:
    """sacreBLEU's signature."""

    def signature() -> str:
        from sacrebleu import __version__

        return f"sacrebleu:nrefs:var|case:mixed|eff:yes|nc:6|nw:{words}|space:no|version:{__version__}"

    return signature


METRICS.add(
    "bleu",
    Metric(
        name="bleu",
        about="sacreBLEU's corpus BLEU, 0 to 100; its tokenizer is chosen by language: 13a, zh (Chinese), or char "
        "(scripts without spaces).",
        measure=bleu_measure,
        reduce=bleu_reduce,
        tokenisation=bleu_signature,
        percent=False,
        maximum=100.0,
    ),
)
for _name, _words, _what in (("chrf", 0, ""), ("chrf++", 2, " and word 1- and 2-grams")):
    METRICS.add(
        _name,
        Metric(
            name=_name,
            about=f"sacreBLEU's corpus {_name.replace('chrf', 'chrF')} (character 1- to 6-grams{_what}), 0 to 100.",
            measure=chrf_measure(_words),
            reduce=chrf_reduce,
            tokenisation=chrf_signature(_words),
            percent=False,
            maximum=100.0,
        ),
    )
