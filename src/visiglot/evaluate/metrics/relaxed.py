"""mBLIP's matches, as in its `evaluation.py` (gregor-ge/mBLIP, 9e06ad1).

The answer, and not the gold answer, passes the English normalisation of VQA, in whatever language it is; a line break
joins the words beside it. Then both are lower-cased. The relaxed match takes any answer that begins or ends with the
gold answer, so that "casino" is right where "no" is; the strict one is the better number and the relaxed is for
comparison. MaXM's match is without normalisation, against any of several gold answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from visiglot.evaluate.metrics import METRICS, Measure, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.evaluate.metrics.vqa import by_row, normalise, soft_accuracy
from visiglot.types import Prediction

Match = Callable[[str, Sequence[str]], bool]


def cleaned(text: str) -> str:
    """mBLIP's `vqa_clean` of an answer."""
    return normalise(text.replace("\n", "").replace("\t", "").strip())


def lowered(text: str) -> str:
    return text.lower().strip()


def is_mblip_exact(text: str, references: Sequence[str]) -> bool:
    """mBLIP's `acc`: the cleaned answer is a gold answer in lower case."""
    return cleaned(text) in map(lowered, references)


def is_mblip_relaxed(text: str, references: Sequence[str]) -> bool:
    """mBLIP's `relaxed_acc`: the cleaned answer begins or ends with a gold answer in lower case."""
    answer = cleaned(text)
    return any(answer.startswith(gold) or answer.endswith(gold) for gold in map(lowered, references))


def is_maxm_match(text: str, references: Sequence[str]) -> bool:
    """mBLIP's accuracy on MaXM: equal in lower case to any of the processed answers."""
    return lowered(text) in map(lowered, references)


def mblip_vqa_accuracy(text: str, references: Sequence[str]) -> float:
    """mBLIP's soft accuracy on VQAv2: gold answers only lower-cased, the answer cleaned even where all people agree."""
    return soft_accuracy(cleaned(text), [lowered(reference) for reference in references])


def _measure(match: Match) -> Measure:
    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        return mean_statistics([float(match(*answer_and_references(row))) for row in rows], rows)

    return measure


def _add(name: str, about: str, measure: Measure, tokenisation: str) -> Metric:
    return METRICS.add(
        name, Metric(name=name, about=about, measure=measure, reduce=mean, tokenisation=lambda: tokenisation)
    )


_add(
    "mblip-exact",
    "mBLIP's accuracy: the answer after VQA's English normalisation equals the lower-cased gold answer.",
    _measure(is_mblip_exact),
    "mblip-vqa-clean",
)
_add(
    "mblip-relaxed",
    "mBLIP's relaxed accuracy: the normalised answer begins or ends with the gold answer, inside a word too.",
    _measure(is_mblip_relaxed),
    "mblip-vqa-clean",
)
_add(
    "maxm-match",
    "mBLIP's accuracy on MaXM: the answer equals one of the gold answers in lower case, without normalisation.",
    _measure(is_maxm_match),
    "lower",
)
_add(
    "vqa-accuracy-mblip",
    "mBLIP's soft accuracy on VQAv2: as VQA's, but gold answers are only lower-cased, answers always normalised.",
    by_row(mblip_vqa_accuracy),
    "mblip-vqa-clean",
)
