"""What is said by comparing languages: means by class, the gap to English, evenness over languages.

Pure arithmetic on what the metrics saw. The answers about one thing are right or wrong together in all languages, so
things are drawn once for all of them, and every number computed from the values in these draws has its interval from
them (`visiglot.evaluate.means.draw`). Two models are compared in `visiglot.evaluate.paired`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from visiglot.evaluate.intervals import SEED, Array, ends, interval
from visiglot.evaluate.means import Drawn, draw, ratio
from visiglot.evaluate.metrics import Metric, Statistics, mean
from visiglot.evaluate.metrics.likelihood import right_choices
from visiglot.languages import ENGLISH
from visiglot.types import Prediction

Unit = Literal["metric", "ratio", "percent", "share", "ranks", "ranks squared"]
"""What a value is in: the metric's own units, a ratio, a percentage that is already times 100, a share of 1, ranks."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a comparison says, and in which unit."""

    about: str
    unit: Unit


KINDS: Mapping[str, Kind] = {
    "tier mean": Kind("Mean over the languages of a class of resources (Joshi et al., 2020), English apart.", "metric"),
    "script mean": Kind("Mean over the languages of a script, English apart.", "metric"),
    "English gap": Kind("A language, or the mean over all but English, less English.", "metric"),
    "English ratio": Kind("A language, or the mean over all but English, divided by English.", "ratio"),
    "relative gain": Kind(
        "How far a language is from the mean over languages, in percent of that mean (MM-BigBench's mean relative "
        "gain, with languages in place of instructions).",
        "percent",
    ),
    "stability": Kind(
        "Standard deviation over languages (MM-BigBench's stability, with languages in place of instructions); lower "
        "is steadier.",
        "metric",
    ),
    "cycle accuracy": Kind("Share of questions answered rightly in every language.", "share"),
    "rank variance": Kind(
        "Variance over languages of the right choice's rank by likelihood, averaged over questions (CCRK's mean rank "
        "variance); 0: the model ranks alike in every language.",
        "ranks squared",
    ),
    "rank deviation": Kind(
        "The same with the standard deviation, which is what CCRK's released code computes.", "ranks"
    ),
    "difference": Kind("The second model less the first, on the answers that both gave.", "metric"),
    "model relative gain": Kind(
        "How far a model is from the mean over models, in percent of that mean, averaged over languages (MM-BigBench's "
        "mean relative gain, with languages in place of instructions).",
        "percent",
    ),
}
"""Every kind of comparison."""

GAIN_FLOOR = 1e-6
"""Added to the mean that a relative gain is divided by, as MM-BigBench's code does."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number that compares languages, or models.

    Args:
        kind: one of KINDS.
        name: the class ("5", "Latn"), the language's code, or a group of languages; "" for all languages together.
        languages: those with a value that it is computed from.
        n: their answers in the metric's units; of a question asked in each language ("cycle accuracy", ranks) the
            questions.
        things: groups of units, which are resampled.
        models: what is compared, where models are: of a "difference" (first, second).
        left_out: questions that weren't answered in every language, or answers that not every model gave.
        p: of the hypothesis that there is no difference; NaN where nothing is tested.
    """

    kind: str
    benchmark: str
    prompt_set: str
    task: str
    metric: str
    tokenisation: str
    name: str
    languages: tuple[str, ...]
    n: int
    things: int
    value: float
    low: float
    high: float
    models: tuple[str, ...] = ()
    left_out: int = 0
    p: float = math.nan


@dataclass(frozen=True)
class Asked:
    """The answered rows of one language.

    Args:
        ids, groups: of the rows, in their order.
        ranks: by id, the rank of the right choice among the choices by likelihood, from 0, where they were ranked.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    ranks: Mapping[str, int]


def asked(rows: Sequence[Prediction]) -> Asked:
    """What `compare_languages` must know of answered rows.

    Raises:
        EvaluationError: a row with likelihoods has no reference among its choices.
    """
    ranks = {row.id: right_rank(row) for row in rows if row.likelihoods}
    return Asked(tuple(row.id for row in rows), tuple(row.group or row.id for row in rows), ranks)


def right_rank(row: Prediction) -> int:
    """How many choices the model finds likelier than the best right one; of equals the first counts."""
    order = sorted(range(len(row.likelihoods)), key=lambda place: -row.likelihoods[place])
    return min(order.index(place) for place in right_choices(row))


# --- formulas --------------------------------------------------------------------------------------------------------


def relative_gain(values: Array, axis: int = -1) -> Array:
    """Percent by which each value is above the mean along `axis`: 100 (v - m) / m, where m is the mean plus 1e-6.

    As in the code of MM-BigBench (Yang et al., 2023, arXiv 2310.09036, `calculate_mean_relative_gain.py`), before its
    mean over the other axis: over instructions for a model's gain, over models for an instruction's. Here languages
    take the place of instructions.
    """
    base = values.mean(axis=axis, keepdims=True) + GAIN_FLOOR
    gain: Array = 100 * (values - base) / base
    return gain


def stability(values: Array, axis: int = -1) -> Array:
    """Population standard deviation along `axis`, as MM-BigBench has it (`calculate_stabability.py`)."""
    deviation: Array = values.std(axis=axis)
    return deviation


def rank_variance(ranks: Array) -> Array:
    """[N, L] ranks of N questions in L languages -> [N] population variance over languages.

    Its mean over questions is the mean rank variance of Nie et al., "Improving the Consistency in Cross-Lingual
    Cross-Modal Retrieval with 1-to-K Contrastive Learning" (KDD 2024, arXiv 2406.18254). It is 0 where the ranks are
    equal in all languages, however bad they are.
    """
    variance: Array = ranks.var(axis=1)
    return variance


def rank_deviation(ranks: Array) -> Array:
    """[N, L] -> [N] population standard deviation over languages, as the released code of CCRK computes it."""
    deviation: Array = ranks.std(axis=1)
    return deviation


def all_right(right: Array) -> Array:
    """[N, K] 1 or 0 for each time that N questions are asked -> [N] 1 where every time was right.

    The cycle accuracy of Centurio's M3Exam (Geigle et al., 2025) with languages in place of rotations of the options;
    with rotations it is the metric `circular-accuracy`.
    """
    every: Array = right.min(axis=1)
    return every


# --- rows ------------------------------------------------------------------------------------------------------------


def compare_languages(
    benchmark: str,
    prompt_set: str,
    task: str,
    metric: Metric,
    measured: Mapping[str, Statistics],
    answered: Mapping[str, Asked],
    classes: Mapping[str, Callable[[str], str]],
    *,
    seed: int = SEED,
) -> list[Comparison]:
    """All comparisons of languages that one metric on one task allows.

    Args:
        measured: by language, what the metric saw; those without a unit take no part.
        answered: by language, the rows that it saw.
        classes: kind of a mean over a class of languages -> a language's class.
    """
    drawn = draw(metric, measured, seed=seed)
    head = (benchmark, prompt_set, task, metric.name, metric.tokenisation())

    counts_of = lru_cache(maxsize=1)(drawn.counts)  # the same for every language's gain

    def row(kind: str, name: str, codes: Sequence[str], value: float, spread: Array) -> Comparison:
        low, high = ends(spread) if math.isfinite(value) else (math.nan, math.nan)
        return Comparison(kind, *head, name, tuple(codes), *counts_of(tuple(codes)), value, low, high)

    found = [row(*one) for one in (*_means(drawn, classes), *_gaps(drawn), *_evenness(drawn))]
    there = {code: answered[code] for code in drawn.codes if code in answered}
    for kind, table, left_out in _questions(metric, measured, there):
        low, high = interval(table.values, table.groups, mean, seed=seed)
        value = float(mean(table.values.sum(axis=0)))
        counts = len(table.groups), len(set(table.groups))
        found.append(Comparison(kind, *head, "", tuple(there), *counts, value, low, high, left_out=left_out))
    return found


Line = tuple[str, str, Sequence[str], float, Array]
"""Kind, name, languages, value, and what it is in each resample."""


def _means(drawn: Drawn, classes: Mapping[str, Callable[[str], str]]) -> Iterator[Line]:
    for kind, class_of in classes.items():
        members: dict[str, list[str]] = {}
        for code in drawn.codes:
            if code != ENGLISH:
                members.setdefault(class_of(code), []).append(code)
        for name, codes in sorted(members.items()):
            yield kind, name, codes, *drawn.mean(codes)


def _gaps(drawn: Drawn) -> Iterator[Line]:
    others = [code for code in drawn.codes if code != ENGLISH]
    if ENGLISH not in drawn.codes or not others:
        return
    english, base = drawn.mean([ENGLISH])
    for name, codes in {"": others, **{code: [code] for code in others}}.items():
        value, spread = drawn.mean(codes)
        members = [ENGLISH, *codes]
        yield "English gap", name, members, value - english, spread - base
        yield "English ratio", name, members, value / english if english else math.nan, ratio(spread, base)


def _evenness(drawn: Drawn) -> Iterator[Line]:
    """Over the languages with a value; resamples in which one of them has none are left out of the interval. Nothing
    is gained on a mean of 0."""
    finite = [place for place, value in enumerate(drawn.values) if math.isfinite(value)]
    if len(finite) < 2:
        return
    codes, values, spread = [drawn.codes[place] for place in finite], drawn.values[finite], drawn.drawn[:, finite]
    yield "stability", "", codes, float(stability(values)), stability(spread)
    if not values.any():
        return
    gains, gains_drawn = relative_gain(values), relative_gain(spread)
    for place, code in enumerate(codes):
        yield "relative gain", code, codes, float(gains[place]), gains_drawn[:, place]


def _questions(
    metric: Metric, measured: Mapping[str, Statistics], answered: Mapping[str, Asked]
) -> Iterator[tuple[str, Statistics, int]]:
    """(kind, one value for each question, questions left out): those whose ids are the same in several languages."""
    if len(answered) < 2:
        return
    groups = {id: group for one in answered.values() for id, group in zip(one.ids, one.groups)}
    if all(_is_right_or_wrong(metric, measured[code], one) for code, one in answered.items()):
        right = [dict(zip(one.ids, measured[code].values[:, 0])) for code, one in answered.items()]
        common, left_out = _common(right)
        if common:
            yield "cycle accuracy", _averaged(all_right(_table(right, common)), common, groups), left_out
    if metric.name == "likelihood-accuracy" and all(one.ranks for one in answered.values()):
        ranks = [one.ranks for one in answered.values()]
        common, left_out = _common(ranks)
        if common:
            table = _table(ranks, common)
            yield "rank variance", _averaged(rank_variance(table), common, groups), left_out
            yield "rank deviation", _averaged(rank_deviation(table), common, groups), left_out


def _is_right_or_wrong(metric: Metric, statistics: Statistics, one: Asked) -> bool:
    """Whether the metric is a mean of ones and zeros, one for each row in the order of the rows."""
    values = statistics.values
    if metric.reduce is not mean or values.shape[1] != 2 or statistics.groups != one.groups:
        return False
    return bool((values[:, 1] == 1).all() and np.isin(values[:, 0], (0.0, 1.0)).all())


def _common(by_language: Sequence[Mapping[str, float]]) -> tuple[list[str], int]:
    """Ids that are in every language, and how many are in some only."""
    every = set.intersection(*map(set, by_language))
    return [id for id in by_language[0] if id in every], len(set().union(*by_language)) - len(every)


def _table(by_language: Sequence[Mapping[str, float]], ids: Sequence[str]) -> Array:
    """[N, L] the values of `ids`."""
    return np.array([[values[id] for values in by_language] for id in ids], dtype=np.float64)


def _averaged(values: Array, ids: Iterable[str], groups: Mapping[str, str]) -> Statistics:
    """[N] -> statistics of their mean."""
    return Statistics(np.stack([values, np.ones_like(values)], axis=1), tuple(groups[id] for id in ids))
