"""An evaluation folder as a section of a model card."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from visiglot.errors import EvaluationError
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.predictions import MEANS, SCORES, read_means, read_scores
from visiglot.evaluate.provenance import Run, read_run
from visiglot.evaluate.summary import is_percent
from visiglot.languages import ENGLISH, language
from visiglot.types import Score


@dataclass(frozen=True)
class Scores:
    """What one evaluation says of one of the models.

    Args:
        weights: which weights were evaluated, in words.
    """

    run: Run
    scores: tuple[Score, ...]
    means: tuple[GroupMean, ...]
    weights: str

    def lines(self) -> list[str]:
        """Markdown: English and the means over languages with their intervals, then every language by itself."""
        return [
            f"`{shlex.join(self.run.command)}`, on {self.weights}. In brackets: 95% bootstrap intervals over things.",
            "",
            *table(
                [
                    ["benchmark", "metric", "languages", "answers", "value"],
                    *(_score_row(score) for score in self.scores if score.language == ENGLISH),
                    *(_mean_row(mean) for mean in self.means),
                ]
            ),
            "",
            "By language:",
            "",
            *table(self._by_language()),
        ]

    def _by_language(self) -> list[list[str]]:
        """A column for each task's first metric, controls left out."""
        shown: dict[tuple[str, str, str], str] = {}
        for score in self.scores:
            row = self.run.benchmarks.get(f"{score.benchmark}.{score.prompt_set}")
            if row is None or not row.control_of:
                shown.setdefault((score.benchmark, score.prompt_set, score.task), score.metric)
        values: dict[str, dict[tuple[str, str, str], str]] = {}
        for score in self.scores:
            key = (score.benchmark, score.prompt_set, score.task)
            if shown.get(key) == score.metric:
                values.setdefault(score.language, {})[key] = number(score.metric, score.value)
        head = ["language", *(f"{benchmark}, {metric}" for (benchmark, _, _), metric in shown.items())]
        return [
            head,
            *(
                [f"{language(code).name} ({code})", *(own.get(key, "") for key in shown)]
                for code, own in sorted(values.items())
            ),
        ]


def read_evaluation(folder: Path, known: Mapping[str, tuple[str, str]]) -> tuple[str, Scores]:
    """The model that an evaluation folder is about, and its scores.

    Args:
        known: by hash of a model's weights, which of the models it is and what to call these weights.

    Raises:
        EvaluationError: it isn't scored, it is of other weights, or answers are missing.
    """
    run = read_run(folder)
    if run is None or run.model_hash not in known:
        found = "it doesn't say of which" if run is None else f"{run.model}, {run.model_hash[:12]}…"
        raise EvaluationError(
            f"{folder} is an evaluation of other weights ({found})",
            hint="Evaluate the run that is shipped: `visiglot evaluate nano --out FOLDER`.",
        )
    for name in (SCORES, MEANS):
        if not (folder / name).is_file():
            raise EvaluationError(
                f"{folder} has no {name}", hint="Score it: `visiglot evaluate --only score --out ...`"
            )
    scores = tuple(read_scores(folder / SCORES))
    missing = sorted({f"{score.benchmark} {score.language}" for score in scores if score.missing})
    if missing:
        raise EvaluationError(
            f"{folder} lacks answers: {', '.join(missing[:4])}{' …' if len(missing) > 4 else ''}",
            hint="Go on with that evaluation: failed answers are asked for again.",
        )
    model, weights = known[run.model_hash]
    return model, Scores(run, scores, tuple(read_means(folder / MEANS)), weights)


def _score_row(score: Score) -> list[str]:
    value = _interval(score.metric, score.value, score.low, score.high)
    return [_title(score), score.metric, language(score.language).name, f"{score.n:,}", value]


def _mean_row(mean: GroupMean) -> list[str]:
    group = f"{mean.group} ({len(mean.languages)})"
    if mean.relative_to:
        value = f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]" if math.isfinite(mean.value) else "-"
        return [_title(mean), mean.metric, f"{group}, relative to {mean.relative_to}", f"{mean.n:,}", value]
    value = _interval(mean.metric, mean.value, mean.low, mean.high)
    return [_title(mean), mean.metric, f"mean over {group}", f"{mean.n:,}", value]


def _title(row: Score | GroupMean) -> str:
    return row.benchmark if row.prompt_set == "english" else f"{row.benchmark} ({row.prompt_set})"


def _interval(metric: str, value: float, low: float, high: float) -> str:
    return f"{number(metric, value)} [{number(metric, low)}, {number(metric, high)}]"


def number(metric: str, value: float) -> str:
    """A value as a report writes it: shares as percentages, one place; "-" where there is none."""
    if not math.isfinite(value):
        return "-"
    return f"{value * 100:.1f}%" if is_percent(metric) else f"{value:.1f}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; the first row is the head."""
    head, *rest = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)]
