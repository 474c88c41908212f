"""CIDEr-D (Vedantam, Zitnick and Parikh, 2015), equal to pycocoevalcap's `Cider` given tokens.

A caption is four vectors, of its 1- to 4-grams' counts times log(N / document frequency). Documents are the N images,
frequencies are counted in the references that are scored: a value depends on which images are in the set, and is 0
where there is only one. The similarity to a reference is the mean over the four lengths of the cosine, the candidate's
weights clipped at the reference's, times a Gaussian of the difference in length. For length pycocoevalcap takes the
number of bigrams, so that captions of no and of one word are equally long.
"""

from __future__ import annotations

import numpy as np

from visiglot.evaluate.metrics import Array
from visiglot.evaluate.metrics.ngrams import Counted

SIGMA = 6.0
"""Standard deviation of the length penalty."""
SCALE = 10.0


def cider(counted: Counted) -> Array:
    """[N] each image's CIDEr-D, 0 to 10; the corpus' value is their mean."""
    images, sentences = len(counted.candidate), len(counted.image)
    rival = counted.candidate[counted.image]
    similarity = np.zeros(sentences)
    for ngrams in counted.ngrams:
        last = np.append(ngrams.start[1:], len(ngrams.gram)) - 1
        in_references = ~ngrams.is_candidate[last[: len(ngrams.start)]]
        frequency = np.bincount(ngrams.gram[ngrams.start], in_references)
        weights = ngrams.times * (np.log(max(images, 1)) - np.log(np.maximum(frequency, 1.0)))[ngrams.gram]
        norms = np.sqrt(np.bincount(ngrams.sentence, weights**2, sentences))
        leader = ngrams.leader
        shared = np.flatnonzero(~ngrams.is_candidate & ngrams.is_candidate[leader])
        own, theirs = weights[leader[shared]], weights[shared]
        products = np.bincount(ngrams.sentence[shared], np.minimum(own, theirs) * theirs, sentences)
        scale = norms * norms[rival]
        similarity += np.divide(products, scale, out=np.zeros(sentences), where=scale > 0)
    bigrams = np.maximum(counted.lengths - 1, 0)
    similarity *= np.exp(-((bigrams - bigrams[rival]) ** 2) / (2 * SIGMA**2))
    references = np.bincount(counted.image, minlength=images) - 1
    values: Array = SCALE * np.bincount(counted.image, similarity, images) / len(counted.ngrams) / references
    return values
