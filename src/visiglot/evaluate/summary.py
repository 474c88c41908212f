"""Score files -> what a report says: pure, no page in sight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from visiglot.errors import EvaluationError
from visiglot.evaluate.comparisons import Comparison
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.parts import PartScore, read_parts
from visiglot.evaluate.predictions import (
    COMPARISONS,
    MEANS,
    SCORES,
    read_comparisons,
    read_folder,
    read_means,
    read_scores,
)
from visiglot.evaluate.provenance import BenchmarkRun, Run, read_run
from visiglot.languages import ENGLISH, language
from visiglot.types import Prediction, Score


@dataclass(frozen=True)
class Evaluation:
    """One evaluation folder in memory.

    Args:
        label: what its columns and bars are called; differs between the folders of a report.
        run: None when the predictions were made elsewhere.
        parts: of benchmarks that have some.
    """

    label: str
    folder: Path
    run: Run | None
    scores: tuple[Score, ...]
    means: tuple[GroupMean, ...]
    comparisons: tuple[Comparison, ...]
    parts: tuple[PartScore, ...] = ()

    def benchmark(self, name: str, prompt_set: str) -> BenchmarkRun | None:
        return self.run.benchmarks.get(f"{name}.{prompt_set}") if self.run is not None else None

    def mean(self, key: Key, group: str, relative_to: str = "") -> GroupMean | None:
        """The mean over a group of languages, by itself or relative to another's; None when there is none."""
        for mean in self.means_of(key):
            if (mean.group, mean.relative_to) == (group, relative_to):
                return mean
        return None

    def means_of(self, key: Key) -> list[GroupMean]:
        """All means over languages of what `key` says."""
        return [mean for mean in self.means if key_of(mean) == key]

    def comparisons_of(self, key: Key) -> list[Comparison]:
        """All comparisons of languages of what `key` says."""
        return [one for one in self.comparisons if key_of(one) == key]

    def parts_of(self, key: Key) -> list[PartScore]:
        """All scores of parts that were measured as `key` says."""
        return [part for part in self.parts if key_of(part) == key]

    def predictions(self) -> Iterable[Prediction]:
        """Every row of every prediction file."""
        for _, rows in read_folder(self.folder):
            yield from rows


@dataclass(frozen=True, slots=True)
class Key:
    """What is comparable: scores of one metric on one task of a benchmark."""

    benchmark: str
    prompt_set: str
    task: str
    metric: str
    tokenisation: str


def key_of(one: Score | GroupMean | Comparison | PartScore) -> Key:
    return Key(one.benchmark, one.prompt_set, one.task, one.metric, one.tokenisation)


Tables = Mapping[Key, Mapping[str, Score]]
Side = tuple[Evaluation, Tables]
"""One of the evaluations that stand side by side, with its `tables`."""


def load_evaluations(folders: Sequence[Path]) -> list[Evaluation]:
    """Read scores and run.json of each folder.

    Raises:
        EvaluationError: a folder isn't scored, or a file in it is broken.
    """
    runs = [(folder, read_run(folder)) for folder in folders]
    names = [run.model if run is not None else folder.name for folder, run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} ({folder})" for name, (folder, _) in zip(names, runs)]
    found = []
    for label, (folder, run) in zip(names, runs):
        for name in (SCORES, MEANS, COMPARISONS):
            if not (folder / name).is_file():
                raise EvaluationError(
                    f"{folder} has no {name}", hint="`visiglot evaluate --only score --out FOLDER` makes it."
                )
        scores, means = read_scores(folder / SCORES), read_means(folder / MEANS)
        comparisons = read_comparisons(folder / COMPARISONS)
        parts = tuple(read_parts(folder))
        found.append(Evaluation(label, folder, run, tuple(scores), tuple(means), tuple(comparisons), parts))
    return found


def tables(evaluation: Evaluation) -> dict[Key, dict[str, Score]]:
    """Scores by what they measure and language. Benchmarks stand in the order in which they were asked, metrics in the
    order of the file (a task's first metric is its main one)."""
    asked = list(evaluation.run.benchmarks) if evaluation.run is not None else []
    found: dict[Key, dict[str, Score]] = {}
    for score in evaluation.scores:
        found.setdefault(key_of(score), {})[score.language] = score

    def place(key: Key) -> int:
        name = f"{key.benchmark}.{key.prompt_set}"
        return asked.index(name) if name in asked else len(asked)

    return {key: found[key] for key in sorted(found, key=place)}


def controls_of(sides: Sequence[Side]) -> set[tuple[str, str]]:
    """(benchmark, prompt set) of those that control another."""
    return {
        (key.benchmark, key.prompt_set)
        for evaluation, found in sides
        for key in found
        if (row := evaluation.benchmark(key.benchmark, key.prompt_set)) is not None and row.control_of
    }


def main_keys(keys: Iterable[Key]) -> list[Key]:
    """The first key of each benchmark, prompt set and task."""
    first: dict[tuple[str, str, str], Key] = {}
    for key in keys:
        first.setdefault((key.benchmark, key.prompt_set, key.task), key)
    return list(first.values())


def mean_value(scores: Iterable[Score]) -> float:
    """Mean over languages, each counting alike; NaN when none has a value."""
    values = [score.value for score in scores if math.isfinite(score.value)]
    return sum(values) / len(values) if values else math.nan


def language_groups(codes: Iterable[str], row: BenchmarkRun | None) -> dict[str, tuple[str, ...]]:
    """The languages of `codes`, English apart, by the benchmark's named groups; "other languages" are the rest.
    Groups without one of them are left out."""
    others = [code for code in codes if code != ENGLISH]
    groups: dict[str, tuple[str, ...]] = {}
    for name, codes in (row.language_groups if row is not None else {}).items():
        if chosen := tuple(code for code in others if code in codes):
            groups[name] = chosen
    named = {code for codes in groups.values() for code in codes}
    if rest := tuple(code for code in others if code not in named):
        groups["other languages"] = rest
    return groups


def by_script(code: str) -> str:
    return language(code).script


def by_tier(code: str) -> str:
    """Joshi et al.'s class of resources, as text."""
    tier = language(code).tier
    return "not classed" if tier is None else str(tier)


def worst(scores: Mapping[str, Score], metric: str, count: int = 5) -> list[Score]:
    """The `count` languages that do worst, worst first; those without a value can't be ranked and are left out."""
    sign = 1.0 if higher_is_better(metric) else -1.0
    ranked = [score for score in scores.values() if math.isfinite(score.value)]
    return sorted(ranked, key=lambda score: (sign * score.value, score.language))[:count]


def best_first(scores: Mapping[str, Score], metric: str) -> list[str]:
    """Languages from best to worst, those without a value last."""
    sign = -1.0 if higher_is_better(metric) else 1.0
    order = {
        code: (0, sign * score.value) if math.isfinite(score.value) else (1, 0.0) for code, score in scores.items()
    }
    return sorted(scores, key=lambda code: (*order[code], code))


def is_percent(metric: str) -> bool:
    return METRICS.get(metric).percent if metric in METRICS else False


def higher_is_better(metric: str) -> bool:
    return METRICS.get(metric).higher_is_better if metric in METRICS else True


def is_of_questions(metric: str) -> bool:
    return METRICS.get(metric).of_questions if metric in METRICS else False


def about(metric: str) -> str:
    return METRICS.get(metric).about if metric in METRICS else f"{metric}: not in this installation's table of metrics."
