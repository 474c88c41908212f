"""ROUGE-L of captions (Lin, 2004), equal to pycocoevalcap's `Rouge` given tokens.

Precision and recall each are the best over the references, maybe of two different ones; beta is 1.2. A caption without
tokens counts as one empty token, as it does for pycocoevalcap, so it has 1 against an empty reference and 0 otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from visiglot.evaluate.metrics.ngrams import Tokens

BETA = 1.2


def rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L of one image's candidate, 0 to 1."""
    candidate = candidate or ("",)
    length, places = len(candidate), _places(candidate)
    common = [_common(places, length, reference or ("",)) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / length
    recall = max(both / (len(reference) or 1) for both, reference in zip(common, references))
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(one: Tokens, other: Tokens) -> int:
    """Length of the longest common subsequence."""
    return _common(_places(one), len(one), other)


def _places(tokens: Tokens) -> dict[str, int]:
    """Token -> the places where it stands, as bits."""
    found: dict[str, int] = {}
    bit = 1
    for token in tokens:
        found[token] = found.get(token, 0) | bit
        bit <<= 1
    return found


def _common(places: Mapping[str, int], length: int, other: Tokens) -> int:
    """Length of the longest common subsequence, a column of the table at a time held in the bits of one number
    (Hyyrö, 2004): a bit is 0 where the column rises."""
    everywhere = (1 << length) - 1
    column = everywhere
    for found in filter(None, map(places.get, other)):
        here = column & found
        column = (column + here) | (column - here)
    return length - (column & everywhere).bit_count()
