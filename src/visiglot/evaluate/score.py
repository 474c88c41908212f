"""Predictions -> scores. Pure: reads prediction files, runs no model, so a new metric never costs a forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from visiglot.errors import EvaluationError, Notice
from visiglot.evaluate.benchmark import BENCHMARKS, metrics_for
from visiglot.evaluate.comparisons import Asked, Comparison, asked, compare_languages
from visiglot.evaluate.elsewhere.account import Taken, read_taken
from visiglot.evaluate.means import GroupMean, group_means
from visiglot.evaluate.metrics import DEFAULTS, METRICS, Metric, ScoreSettings, Statistics
from visiglot.evaluate.parts import MeasuredPart, measure_parts, scores_of_parts, value_of, write_parts
from visiglot.evaluate.predictions import (
    COMPARISONS,
    MEANS,
    SCORES,
    read_folder,
    write_comparisons,
    write_means,
    write_scores,
)
from visiglot.evaluate.provenance import Run, read_run
from visiglot.evaluate.summary import by_script, by_tier, language_groups
from visiglot.types import Prediction, Score

Progress = Callable[[str], None]

CLASSES: Mapping[str, Callable[[str], str]] = {"tier mean": by_tier, "script mean": by_script}
"""Kind of comparison -> the class of a language over which it averages."""


@dataclass(frozen=True)
class Measured:
    """What a metric saw in the rows of one benchmark, prompt set, language and task.

    Args:
        answered, missing: rows with an answer, and rows with an error, which take no part in `statistics`.
        unchecked: whether rows may be lacking unseen.
        asked: the answered rows, for comparing them with those of other languages.
    """

    benchmark: str
    prompt_set: str
    language: str
    task: str
    metric: Metric
    statistics: Statistics
    answered: int
    missing: int
    asked: Asked | None = None
    unchecked: bool = False


def score_predictions(
    folder: Path, *, settings: ScoreSettings = DEFAULTS, seed: int = 0, progress: Progress | None = None
) -> list[Score]:
    """Score every prediction file of an evaluation folder and write `scores.jsonl`, `means.jsonl`,
    `comparisons.jsonl` and, of benchmarks with parts, `parts.jsonl` there.

    Files of a benchmark whose labels are hidden are passed over with a notice.

    Args:
        settings: what the metrics follow.
        seed: of the resampling.
        progress: is told the name of each file.

    Raises:
        EvaluationError: no predictions, a broken file, answers made with different settings under one name, fewer rows
            than the run was to have, or hidden labels only.
        UnknownNameError: a benchmark or metric is in no table.
    """
    run, taken = read_run(folder), read_taken(folder)
    measured: list[Measured] = []
    parts: list[MeasuredPart] = []
    hidden: list[EvaluationError] = []
    made: dict[str, tuple[str, Path]] = {}
    for path, rows in read_folder(folder):
        if progress is not None:
            progress(path.name)
        expected = run.expected(path.name) if run is not None else None
        _check_whole(path, rows, expected)
        known = expected is not None or _was_checked(taken.get(path.name), rows)
        for key in sorted({(row.benchmark, row.prompt_set, row.settings_hash) for row in rows}):
            name = f"{key[0]}.{key[1]}"
            first, where = made.setdefault(name, (key[2], path))
            if first != key[2]:
                raise EvaluationError(
                    f"{name}: the answers in {where.name} and {path.name} were made by different models or settings",
                    hint="Evaluate each model into a folder of its own, ask again for every language with the same "
                    "settings, or remove the files of those that you don't want.",
                )
            _check_of_run(path, name, key[2], run)
        if (kept := _hidden_labels(path, rows)) is not None:
            hidden.append(kept)
            continue
        parts += measure_parts(rows, settings)
        measured += [replace(one, unchecked=not known) for one in measure_rows(rows, settings)]
    if hidden and not measured:
        raise hidden[0]
    for kept in hidden:
        warnings.warn(Notice(kept.message), stacklevel=2)
    scores = [score_of(one, seed=seed) for one in measured]
    write_parts(scores_of_parts(parts, seed=seed), folder)
    write_means(means_of(measured, run, seed=seed), folder / MEANS)
    write_comparisons(comparisons_of(measured, seed=seed), folder / COMPARISONS)
    write_scores(scores, folder / SCORES)
    return scores


def _hidden_labels(path: Path, rows: Sequence[Prediction]) -> EvaluationError | None:
    """Why a file can't be scored whose benchmark keeps its labels; None where there are some, or should be."""
    where = BENCHMARKS.get(rows[0].benchmark).hidden
    if not where or any(row.references for row in rows):
        return None
    return EvaluationError(
        f"{path.name}: the labels of {rows[0].benchmark} are hidden in its data, so its answers can't be scored here",
        hint=f"The answers are in {path}; its authors score them at {where}. Or give data with labels, with --data.",
    )


def _was_checked(taken: Taken | None, rows: Sequence[Prediction]) -> bool:
    """Whether these rows were held against the benchmark's data when they were taken in."""
    return taken is not None and bool(taken.revision) and taken.rows == len(rows)


def _check_of_run(path: Path, name: str, settings_hash: str, run: Run | None) -> None:
    """Raise EvaluationError if a file's answers aren't those that the folder's run.json tells of."""
    row = run.benchmarks.get(name) if run is not None else None
    if run is not None and (row is None or row.settings_hash != settings_hash):
        raise EvaluationError(
            f"{path.name}: its answers aren't of the run that {path.parents[1]} holds (model {run.model}, "
            f"{run.model_hash[:12]}…)",
            hint="Evaluate each model into a folder of its own; remove the file, or ask for its benchmark again.",
        )


def measure_rows(rows: Sequence[Prediction], settings: ScoreSettings = DEFAULTS) -> list[Measured]:
    """What each metric sees in any rows, one for each benchmark, prompt set, language, task and metric."""
    parts: dict[tuple[str, str, str, str], list[Prediction]] = {}
    for row in rows:
        parts.setdefault((row.benchmark, row.prompt_set, row.language, row.task), []).append(row)
    found = []
    for (benchmark, prompt_set, language, task), part in sorted(parts.items()):
        answered = [row for row in part if row.error is None]
        compared = asked(answered)
        for name in metrics_for(benchmark, task, part):
            metric = METRICS.get(name).under(settings)
            statistics = metric.measure(answered, language) if answered else Statistics(np.zeros((0, 1)), ())
            counts = len(answered), len(part) - len(answered)
            found.append(Measured(benchmark, prompt_set, language, task, metric, statistics, *counts, compared))
    return found


def score_of(measured: Measured, *, seed: int = 0) -> Score:
    """The value of one metric with its interval. It is NaN when nothing was answered that the metric can judge."""
    metric, statistics = measured.metric, measured.statistics
    value, low, high = value_of(metric, [statistics], seed=seed)
    return Score(
        benchmark=measured.benchmark,
        prompt_set=measured.prompt_set,
        language=measured.language,
        metric=metric.name,
        tokenisation=metric.tokenisation(),
        n=len(statistics.values),
        value=value,
        low=low,
        high=high,
        missing=measured.missing,
        undetermined=statistics.undetermined,
        task=measured.task,
        unchecked=measured.unchecked,
    )


def means_of(measured: Sequence[Measured], run: Run | None, *, seed: int = 0) -> list[GroupMean]:
    """The means over languages, for each benchmark, prompt set, task and metric.

    Args:
        run: knows the groups of languages; None: there is one group, of all but English.
    """
    found: list[GroupMean] = []
    for (benchmark, prompt_set, task), metric, by_language in _by_metric(measured):
        row = run.benchmarks.get(f"{benchmark}.{prompt_set}") if run is not None else None
        statistics = {code: one.statistics for code, one in by_language.items()}
        base = next(iter(row.language_groups), "") if row is not None else ""
        found += group_means(
            benchmark,
            prompt_set,
            task,
            metric,
            statistics,
            language_groups(by_language, row),
            base=base,
            seed=seed,
        )
    return found


def comparisons_of(measured: Sequence[Measured], *, seed: int = 0) -> list[Comparison]:
    """What is said by comparing languages, for each benchmark, prompt set, task and metric."""
    found: list[Comparison] = []
    for head, metric, by_language in _by_metric(measured):
        statistics = {code: one.statistics for code, one in by_language.items()}
        rows = {code: one.asked for code, one in by_language.items() if one.asked is not None}
        found += compare_languages(*head, metric, statistics, rows, CLASSES, seed=seed)
    return found


def _by_metric(
    measured: Sequence[Measured],
) -> Iterator[tuple[tuple[str, str, str], Metric, dict[str, Measured]]]:
    """((benchmark, prompt set, task), metric, what it saw by language)."""
    tables: dict[tuple[str, str, str, str], dict[str, Measured]] = {}
    for one in measured:
        key = (one.benchmark, one.prompt_set, one.task, one.metric.name)
        tables.setdefault(key, {})[one.language] = one
    for (benchmark, prompt_set, task, _), by_language in tables.items():
        yield (benchmark, prompt_set, task), next(iter(by_language.values())).metric, by_language


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
