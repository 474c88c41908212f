"""Scores of parts of a benchmark: of each category, of each subset. They stand in a file of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visiglot.evaluate.benchmark import BENCHMARKS, metrics_for
from visiglot.evaluate.intervals import interval
from visiglot.evaluate.lines import number, read_lines, write_lines
from visiglot.evaluate.metrics import DEFAULTS, METRICS, Metric, ScoreSettings, Statistics
from visiglot.types import Prediction

PARTS = "parts.jsonl"
_NUMBERS = ("value", "low", "high")


@dataclass(frozen=True, slots=True)
class PartScore:
    """The main metric of the answers whose `fact` is `part`, with its interval.

    Args:
        language: FLORES-200 code; "": those of all languages together, each answer counting alike.
        missing: rows with an error, which aren't among the `n`.
    """

    benchmark: str
    prompt_set: str
    task: str
    metric: str
    tokenisation: str
    fact: str
    part: str
    language: str
    n: int
    value: float
    low: float
    high: float
    missing: int
    undetermined: int


@dataclass(frozen=True)
class MeasuredPart:
    """What the main metric saw in one language's answers of a part. `key`: benchmark, prompt set, task, fact, part."""

    key: tuple[str, str, str, str, str]
    language: str
    metric: Metric
    statistics: Statistics
    missing: int


def measure_parts(rows: Sequence[Prediction], settings: ScoreSettings = DEFAULTS) -> list[MeasuredPart]:
    """The parts of any rows, by the facts that their benchmarks name; rows without the fact are in none."""
    split: dict[tuple[tuple[str, str, str, str, str], str], list[Prediction]] = {}
    for row in rows:
        for fact in BENCHMARKS.get(row.benchmark).parts:
            if part := row.facts.get(fact, ""):
                key = row.benchmark, row.prompt_set, row.task, fact, part
                split.setdefault((key, row.language), []).append(row)
    found = []
    for (key, code), own in sorted(split.items()):
        metric = METRICS.get(metrics_for(key[0], key[2], own)[0]).under(settings)
        answered = [row for row in own if row.error is None]
        statistics = metric.measure(answered, code) if answered else Statistics(np.zeros((0, 1)), ())
        found.append(MeasuredPart(key, code, metric, statistics, len(own) - len(answered)))
    return found


def scores_of_parts(measured: Iterable[MeasuredPart], *, seed: int = 0) -> list[PartScore]:
    """Of each part its score in each language, and in all together where there are several."""
    by_key: dict[tuple[str, str, str, str, str], list[MeasuredPart]] = {}
    for one in measured:
        by_key.setdefault(one.key, []).append(one)
    found = []
    for key, own in sorted(by_key.items()):
        found += [_score(key, one.language, [one], seed) for one in own]
        if len(own) > 1:
            found.append(_score(key, "", own, seed))
    return found


def _score(key: tuple[str, str, str, str, str], language: str, own: Sequence[MeasuredPart], seed: int) -> PartScore:
    benchmark, prompt_set, task, fact, part = key
    metric, statistics = own[0].metric, [one.statistics for one in own]
    return PartScore(
        benchmark, prompt_set, task, metric.name, metric.tokenisation(), fact, part, language,
        sum(len(one.values) for one in statistics), *value_of(metric, statistics, seed=seed),
        sum(one.missing for one in own), sum(one.undetermined for one in statistics),
    )  # fmt: skip


def value_of(metric: Metric, statistics: Sequence[Statistics], *, seed: int = 0) -> tuple[float, float, float]:
    """The value of all that was seen together, and its interval; NaN where nothing was seen that can be judged."""
    seen = [one for one in statistics if len(one.values)]
    if not seen:
        return math.nan, math.nan, math.nan
    values = np.concatenate([one.values for one in seen])
    groups = [group for one in seen for group in one.groups]
    return float(metric.reduce(values.sum(axis=0))), *interval(values, groups, metric.reduce, seed=seed)


def write_parts(scores: Sequence[PartScore], folder: Path) -> None:
    """Replace `parts.jsonl` of an evaluation folder; without a score there is none. Raises VisiglotError."""
    if not scores:
        (folder / PARTS).unlink(missing_ok=True)
        return
    write_lines(scores, folder / PARTS)


def read_parts(folder: Path) -> list[PartScore]:
    """What `write_parts` left in an evaluation folder; empty where it left nothing.

    Raises:
        EvaluationError: the file can't be read, or a line is no score of a part.
    """
    return read_lines(
        folder / PARTS,
        PartScore,
        lambda row: {name: number(row[name]) for name in _NUMBERS},
        hint="`visiglot evaluate --only score --out FOLDER` makes it anew.",
    )
