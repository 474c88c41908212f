"""BLEU-1 to BLEU-4 (Papineni et al., 2002) of captions, equal to pycocoevalcap's `Bleu` given tokens.

Computed from counts summed over the images. An image's reference length is that of the reference closest in length to
the candidate, the shorter of two that are equally close (its option "closest"). No precision is ever 0: pycocoevalcap
adds 1e-15 above and 1e-9 below, so that a BLEU-4 without a common 4-gram is tiny instead of 0.
"""

from __future__ import annotations

import numpy as np

from visiglot.evaluate.metrics import Array
from visiglot.evaluate.metrics.ngrams import LONGEST, Counted

_TINY, _SMALL = 1e-15, 1e-9


def bleu_statistics(counted: Counted) -> Array:
    """[N, 2 + 2 * LONGEST] of each image: tokens of the candidate, tokens of the closest reference, the candidate's
    n-grams of each length, and how many of them are in a reference too, each as often as in one reference at most."""
    images = len(counted.candidate)
    own = counted.lengths[counted.candidate]
    found = [own, _closest(counted)]
    found += [np.maximum(own - size, 0) for size in range(LONGEST)]
    for ngrams in counted.ngrams:
        image = counted.image[ngrams.sentence[ngrams.start]]
        said = np.where(ngrams.is_candidate[ngrams.start], ngrams.times[ngrams.start], 0)
        times = np.where(ngrams.is_candidate, 0, ngrams.times)
        allowed = np.maximum.reduceat(times, ngrams.start) if len(times) else times
        found.append(np.bincount(image, np.minimum(said, allowed), images))
    return np.stack(found, axis=1).astype(np.float64)


def _closest(counted: Counted) -> Array:
    """[N] length of the reference that is closest in length to the candidate."""
    if not len(counted.candidate):
        return np.zeros(0)
    away = np.abs(counted.lengths - counted.lengths[counted.candidate][counted.image])
    base = int(counted.lengths.max()) + 1
    rank = away * base + counted.lengths
    rank[counted.candidate] = base * base
    closest: Array = np.minimum.reduceat(rank, counted.candidate) % base
    return closest


def bleu(sums: Array, order: int) -> Array:
    """[..., 2 + 2 * LONGEST] summed statistics -> [...] BLEU of 1- to `order`-grams, 0 to 1."""
    own, closest = sums[..., 0], sums[..., 1]
    guessed, right = sums[..., 2 : 2 + order], sums[..., 2 + LONGEST : 2 + LONGEST + order]
    precision = np.prod((right + _TINY) / (guessed + _SMALL), axis=-1) ** (1 / order)
    ratio = (own + _TINY) / (closest + _SMALL)
    value: Array = precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return value
