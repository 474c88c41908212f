"""Two models or more on the same questions: paired bootstrap of the difference, and each model's relative gain.

Only answers that all models gave are compared, in each language; the others are counted. Things are drawn once for all
models and languages, so that what is hard for all of them cancels out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.comparisons import Comparison, relative_gain
from visiglot.evaluate.intervals import SEED, Array, ends, resample
from visiglot.evaluate.means import ALL, mean_of_finite
from visiglot.evaluate.metrics import DEFAULTS, Metric, ScoreSettings, Statistics
from visiglot.evaluate.predictions import FOLDER, read_predictions
from visiglot.evaluate.score import measure_rows
from visiglot.languages import ENGLISH
from visiglot.types import Prediction

OTHERS = "all but English"
"""Name of the group of all languages that all models have a value in, English apart."""

_EQUAL = 1e-12
"""Differences of sums in floating point that are the same number."""


_Place = tuple[str, str, str, str]
"""Benchmark, prompt set, task and metric."""


@dataclass(frozen=True)
class _Pairing:
    """What one metric saw of several models on one task: statistics by language, of each model in their order."""

    metric: Metric
    statistics: dict[str, tuple[Statistics, ...]]
    left_out: dict[str, int]


def compare_models(
    folders: Mapping[str, Path], *, settings: ScoreSettings = DEFAULTS, seed: int = SEED
) -> list[Comparison]:
    """Each other model less the first, in each language and over the languages; and with what all have in common, each
    model's relative gain.

    Prediction files that not every folder has are passed over; nothing in common is an empty list.

    Args:
        folders: what a model is called -> its evaluation folder, two at least.
        settings: of scoring.
        seed: of the resampling.

    Raises:
        EvaluationError: a file is broken, or a question has other references in one folder than in another.
    """
    models = tuple(folders)
    pairings: dict[_Place, _Pairing] = {}
    for rows in _together(list(folders.values())):
        _pair(rows, pairings, settings)
    found: list[Comparison] = []
    for (benchmark, prompt_set, task, _), pairing in pairings.items():
        found += _compare((benchmark, prompt_set, task), models, pairing, seed)
    return found


def p_value(drawn: Array, observed: float) -> float:
    """Of the hypothesis that there is no difference, two-sided.

    The share of resamples whose difference is as far from the observed one as that is from 0, each counted once more
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 16; as Riezler and Maxwell, 2005, for
    corpus metrics). Equal models have 1.

    Args:
        drawn: [B] the difference in each resample; NaN among them is left out.
        observed: the difference itself.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or not math.isfinite(observed):
        return math.nan
    beyond = np.count_nonzero(np.abs(finite - observed) >= abs(observed) - _EQUAL)
    return (int(beyond) + 1) / (len(finite) + 1)


def _together(folders: Sequence[Path]) -> Iterator[list[list[Prediction]]]:
    """The rows of each folder, of every prediction file that they all have."""
    names = [{path.name for path in (folder / FOLDER).glob("*.jsonl")} for folder in folders]
    for name in sorted(set.intersection(*names)):
        yield [read_predictions(folder / FOLDER / name) for folder in folders]


def _pair(rows: Sequence[Sequence[Prediction]], pairings: dict[_Place, _Pairing], settings: ScoreSettings) -> None:
    """Measure the answers that all models gave in one language."""
    answered = [{row.id: row for row in one if row.error is None} for one in rows]
    common = [id for id in answered[0] if all(id in others for others in answered[1:])]
    for id in common:
        _check_same([one[id] for one in answered])
    tasks = {row.id: row.task for one in rows for row in one}
    lacking = Counter(task for id, task in tasks.items() if id not in set(common))
    measured = [
        {(one.benchmark, one.prompt_set, one.task, one.metric.name): one for one in measure_rows(part, settings)}
        for part in ([one[id] for id in common] for one in answered)
    ]
    for place, first in measured[0].items():
        if all(place in others for others in measured[1:]):
            pairing = pairings.setdefault(place, _Pairing(first.metric, {}, {}))
            pairing.statistics[first.language] = tuple(one[place].statistics for one in measured)
            pairing.left_out[first.language] = lacking[first.task]


def _check_same(rows: Sequence[Prediction]) -> None:
    first = rows[0]
    for other in rows[1:]:
        if other.references != first.references:
            raise EvaluationError(
                f"{first.benchmark}, {first.language}: row {first.id!r} has the references "
                f"{', '.join(map(repr, first.references))} with {first.model}, and "
                f"{', '.join(map(repr, other.references))} with {other.model}",
                hint="They weren't asked the same questions: generate both from the same data.",
            )


def _compare(head: tuple[str, str, str], models: tuple[str, ...], pairing: _Pairing, seed: int) -> list[Comparison]:
    metric = pairing.metric
    codes = [code for code, parts in pairing.statistics.items() if all(len(part.values) for part in parts)]
    if not codes:
        return []
    parts = [pairing.statistics[code][place] for place in range(len(models)) for code in codes]
    values = np.array([float(metric.reduce(part.values.sum(axis=0))) for part in parts]).reshape(len(models), -1)
    drawn = resample([(part.values, part.groups) for part in parts], metric.reduce, seed=seed)
    drawn = drawn.reshape(len(drawn), len(models), len(codes))

    def row(
        kind: str, name: str, among: Sequence[str], compared: tuple[str, ...], value: float, spread: Array, p: float
    ) -> Comparison:
        low, high = ends(spread) if math.isfinite(value) else (math.nan, math.nan)
        units = [pairing.statistics[code] for code in among]
        return Comparison(
            kind, *head, metric.name, metric.tokenisation(), name, tuple(among),
            sum(min(len(part.values) for part in one) for one in units),
            len({group for one in units for part in one for group in part.groups}),
            value, low, high, compared, sum(pairing.left_out[code] for code in among), p,
        )  # fmt: skip

    others = [code for code in codes if code != ENGLISH]
    groups = {
        ALL: codes,
        **({OTHERS: others} if 0 < len(others) < len(codes) else {}),
        **{code: [code] for code in codes},
    }
    found = []
    for place in range(1, len(models)):
        less, less_drawn = values[place] - values[0], drawn[:, place] - drawn[:, 0]  # NaN where one of them has none
        for name, members in groups.items():
            among = [code for code in members if math.isfinite(less[codes.index(code)])] or members
            at = [codes.index(code) for code in among]
            spread = mean_of_finite(less_drawn[:, at])
            value = float(mean_of_finite(less[None, at])[0])
            pair = (models[0], models[place])
            found.append(row("difference", name, among, pair, value, spread, p_value(spread, value)))
    known = np.isfinite(values).all(axis=0) & values.any(axis=0)  # nothing is gained on a mean of 0
    if known.any():
        among = [code for code, one in zip(codes, known) if one]
        gains = relative_gain(values[:, known], axis=0).mean(axis=1)
        gains_drawn = relative_gain(drawn[:, :, known], axis=1).mean(axis=2)
        for place, model in enumerate(models):
            spread = gains_drawn[:, place]
            found.append(row("model relative gain", "", among, (model,), float(gains[place]), spread, math.nan))
    return found
