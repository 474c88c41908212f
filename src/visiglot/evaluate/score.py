"""Predictions -> scores. Pure: reads prediction files, runs no model, so a new metric never costs a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.intervals import interval
from visiglot.evaluate.means import GroupMean, group_means
from visiglot.evaluate.metrics import METRICS, Metric, Statistics
from visiglot.evaluate.predictions import MEANS, SCORES, read_folder, write_means, write_scores
from visiglot.evaluate.provenance import Run, read_run
from visiglot.evaluate.summary import language_groups
from visiglot.types import Prediction, Score

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What a metric saw in the rows of one benchmark, prompt set, language and task.

    Args:
        answered, missing: rows with an answer, and rows with an error, which take no part in `statistics`.
    """

    benchmark: str
    prompt_set: str
    language: str
    task: str
    metric: Metric
    statistics: Statistics
    answered: int
    missing: int


def score_predictions(folder: Path, *, seed: int = 0, progress: Progress | None = None) -> list[Score]:
    """Score every prediction file of an evaluation folder and write `scores.jsonl` and `means.jsonl` there.

    Args:
        seed: of the resampling.
        progress: is told the name of each file.

    Raises:
        EvaluationError: no predictions, a broken file, answers made with different settings under one name, or fewer
            rows than the run was to have.
        UnknownNameError: a benchmark or metric is in no table.
    """
    run = read_run(folder)
    measured: list[Measured] = []
    settings: dict[str, tuple[str, Path]] = {}
    for path, rows in read_folder(folder):
        if progress is not None:
            progress(path.name)
        _check_whole(path, rows, run.expected(path.name) if run is not None else None)
        for key in sorted({(row.benchmark, row.prompt_set, row.settings_hash) for row in rows}):
            name = f"{key[0]}.{key[1]}"
            first, where = settings.setdefault(name, (key[2], path))
            if first != key[2]:
                raise EvaluationError(
                    f"{name}: the answers in {where.name} and {path.name} were made by different models or settings",
                    hint="Evaluate each model into a folder of its own, or generate anew without --resume.",
                )
        measured += measure_rows(rows)
    scores = [score_of(one, seed=seed) for one in measured]
    write_means(means_of(measured, run, seed=seed), folder / MEANS)
    write_scores(scores, folder / SCORES)
    return scores


def measure_rows(rows: Sequence[Prediction]) -> list[Measured]:
    """What each metric sees in any rows, one for each benchmark, prompt set, language, task and metric."""
    parts: dict[tuple[str, str, str, str], list[Prediction]] = {}
    for row in rows:
        parts.setdefault((row.benchmark, row.prompt_set, row.language, row.task), []).append(row)
    found = []
    for (benchmark, prompt_set, language, task), part in sorted(parts.items()):
        answered = [row for row in part if row.error is None]
        for name in BENCHMARKS.get(benchmark).metrics_of(task):
            metric = METRICS.get(name)
            statistics = metric.measure(answered, language) if answered else Statistics(np.zeros((0, 1)), ())
            counts = len(answered), len(part) - len(answered)
            found.append(Measured(benchmark, prompt_set, language, task, metric, statistics, *counts))
    return found


def score_of(measured: Measured, *, seed: int = 0) -> Score:
    """The value of one metric with its interval. It is NaN when nothing was answered that the metric can judge."""
    metric, statistics = measured.metric, measured.statistics
    value = low = high = math.nan
    if len(statistics.values):
        value = float(metric.reduce(statistics.values.sum(axis=0)))
        low, high = interval(statistics.values, statistics.groups, metric.reduce, seed=seed)
    return Score(
        benchmark=measured.benchmark,
        prompt_set=measured.prompt_set,
        language=measured.language,
        metric=metric.name,
        tokenisation=metric.tokenisation(),
        n=measured.answered - statistics.undetermined,
        value=value,
        low=low,
        high=high,
        missing=measured.missing,
        undetermined=statistics.undetermined,
        task=measured.task,
    )


def means_of(measured: Sequence[Measured], run: Run | None, *, seed: int = 0) -> list[GroupMean]:
    """The means over languages, for each benchmark, prompt set, task and metric.

    Args:
        run: knows the groups of languages; None: there is one group, of all but English.
    """
    tables: dict[tuple[str, str, str, str], dict[str, Measured]] = {}
    for one in measured:
        key = (one.benchmark, one.prompt_set, one.task, one.metric.name)
        tables.setdefault(key, {})[one.language] = one
    found: list[GroupMean] = []
    for (benchmark, prompt_set, task, name), by_language in tables.items():
        row = run.benchmarks.get(f"{benchmark}.{prompt_set}") if run is not None else None
        statistics = {code: one.statistics for code, one in by_language.items()}
        base = next(iter(row.language_groups), "") if row is not None else ""
        found += group_means(
            benchmark,
            prompt_set,
            task,
            METRICS.get(name),
            statistics,
            language_groups(by_language, row),
            base=base,
            seed=seed,
        )
    return found


def _check_whole(path: Path, rows: Sequence[Prediction], expected: int | None) -> None:
    if not rows:
        raise EvaluationError(f"{path} holds no predictions", hint="Remove it or generate it anew.")
    parts = path.name.removesuffix(".jsonl").split(".")
    found = {(row.benchmark, row.prompt_set, row.language) for row in rows}
    if found != {tuple(parts)}:
        raise EvaluationError(
            f"{path}: its name says {'.'.join(parts)}, its rows say {', '.join(sorted('.'.join(k) for k in found))}",
            hint="Files are called <benchmark>.<prompt set>.<language>.jsonl",
        )
    if expected is not None and len(rows) < expected:
        raise EvaluationError(
            f"{path}: {len(rows)} of {expected} rows are there",
            hint="Run the same `visiglot evaluate` with --resume to make the rest; what is missing is never left out.",
        )
