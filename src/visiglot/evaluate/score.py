"""Predictions -> scores. Pure: reads prediction files, runs no model, so a new metric never costs a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.intervals import interval
from visiglot.evaluate.metrics import METRICS, Metric
from visiglot.evaluate.predictions import SCORES, read_folder, write_scores
from visiglot.evaluate.provenance import read_run
from visiglot.types import Prediction, Score

Progress = Callable[[str], None]


def score_predictions(folder: Path, *, seed: int = 0, progress: Progress | None = None) -> list[Score]:
    """Score every prediction file of an evaluation folder and write `scores.jsonl` there.

    Args:
        seed: of the resampling.
        progress: is told the name of each file.

    Raises:
        EvaluationError: no predictions, a broken file, answers made with different settings under one name, or fewer
            rows than the run was to have.
        UnknownNameError: a benchmark or metric is in no table.
    """
    run = read_run(folder)
    scores: list[Score] = []
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
        scores += score_rows(rows, seed=seed)
    write_scores(scores, folder / SCORES)
    return scores


def score_rows(rows: Sequence[Prediction], *, seed: int = 0) -> list[Score]:
    """The scores of any rows, one for each benchmark, prompt set, language, task and metric."""
    parts: dict[tuple[str, str, str, str], list[Prediction]] = {}
    for row in rows:
        parts.setdefault((row.benchmark, row.prompt_set, row.language, row.task), []).append(row)
    return [
        score_part(part, METRICS.get(name), seed=seed)
        for key, part in sorted(parts.items())
        for name in BENCHMARKS.get(key[0]).metrics_of(key[3])
    ]


def score_part(rows: Sequence[Prediction], metric: Metric, *, seed: int = 0) -> Score:
    """One metric on rows of one benchmark, prompt set, language and task. Rows with an error are counted as missing
    and take no part in the value, which is NaN when nothing else is left."""
    first = rows[0]
    answered = [row for row in rows if row.error is None]
    value = low = high = math.nan
    undetermined = 0
    if answered:
        statistics = metric.measure(answered, first.language)
        undetermined = statistics.undetermined
        if len(statistics.values):
            value = float(metric.reduce(statistics.values.sum(axis=0)))
            low, high = interval(statistics.values, statistics.groups, metric.reduce, seed=seed)
    return Score(
        benchmark=first.benchmark,
        prompt_set=first.prompt_set,
        language=first.language,
        metric=metric.name,
        tokenisation=metric.tokenisation(),
        n=len(answered) - undetermined,
        value=value,
        low=low,
        high=high,
        missing=len(rows) - len(answered),
        undetermined=undetermined,
        task=first.task,
    )


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
