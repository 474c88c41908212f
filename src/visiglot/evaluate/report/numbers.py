"""Every number of a report, worked out once: the page and `report.json` are two ways of writing the same objects."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from visiglot.errors import EvaluationError, UnknownNameError
from visiglot.evaluate.comparisons import Comparison
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.metrics import DEFAULTS, ScoreSettings
from visiglot.evaluate.metrics.fidelity import FIDELITY
from visiglot.evaluate.paired import OTHERS, compare_models
from visiglot.evaluate.parts import PartScore
from visiglot.evaluate.provenance import Run
from visiglot.evaluate.summary import (
    Evaluation,
    Key,
    Side,
    about,
    best_first,
    higher_is_better,
    is_of_questions,
    is_percent,
    key_of,
    language_groups,
    main_keys,
    mean_value,
    tables,
    worst,
)
from visiglot.languages import ENGLISH
from visiglot.types import Score

READING_FAILURES = ("letter-failures", "yes-no-failures")
"""Metrics that say of how many answers nothing could be read off that is right or wrong."""


@dataclass(frozen=True)
class Gap:
    """How much lower languages score than English.

    Args:
        group: of languages, English apart, by name.
        gap: English less their mean; negative where English is behind.
        low, high: its interval, where it is known: of all languages together.
    """

    group: str
    languages: tuple[str, ...]
    english: float
    mean: float
    gap: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelResult:
    """What one model reached.

    Args:
        scores: by language, best first.
        means: over groups of languages, and their ratios.
        comparisons: of languages: means by class of resources and by script, English apart; gaps; how even they are.
        worst: codes of the five languages with the lowest values, worst first.
        fidelity, identified: beside each language's score, the share of answers that are in it, and the share of the
            references that the same identifier takes for it; empty where it wasn't measured.
        unread: the share of answers in which nothing was found that could be right or wrong; likewise.
        questions: by metric, what is so whatever is answered, and may differ by language (chance).
        parts: by fact (category), part and language ("": all together) the score of the answers that are of the part.
    """

    model: str
    scores: Mapping[str, Score]
    means: tuple[GroupMean, ...]
    comparisons: tuple[Comparison, ...]
    english_gap: tuple[Gap, ...]
    worst: tuple[str, ...]
    fidelity: Mapping[str, Score]
    identified: Mapping[str, Score]
    unread: Mapping[str, Score]
    questions: Mapping[str, Mapping[str, Score]]
    parts: Mapping[str, Mapping[str, Mapping[str, PartScore]]]

    def mean(self, group: str, relative_to: str = "") -> GroupMean | None:
        """The mean over a group of languages, by itself or relative to another's; None when there is none."""
        return next((one for one in self.means if (one.group, one.relative_to) == (group, relative_to)), None)

    def compared(self, kind: str, name: str | None = None) -> list[Comparison]:
        """The comparisons of a kind, or the one of that name."""
        return [one for one in self.comparisons if one.kind == kind and name in (None, one.name)]


@dataclass(frozen=True)
class Result:
    """One metric on one task of a benchmark under one prompt set, by model.

    Args:
        main: whether it is its task's first metric.
        chance: what guessing gives; of main metrics only, and where there is such a thing.
        ratios: whether the ratio of two groups' means says something; not where guessing gives much of both.
        control_of, control: where the benchmark controls another, its name and what was done.
        groups: named groups of languages, the usual case first.
        differences: each other model less the first on the answers that both gave, by language and over languages; and
            each model's relative gain.
    """

    key: Key
    about: str
    percent: bool
    higher_is_better: bool
    main: bool
    benchmark_about: str
    chance: float | None
    ratios: bool
    control_of: str
    control: str
    groups: Mapping[str, tuple[str, ...]]
    models: tuple[ModelResult, ...]
    differences: tuple[Comparison, ...]

    def of(self, model: str) -> ModelResult | None:
        return next((one for one in self.models if one.model == model), None)


@dataclass(frozen=True)
class Model:
    """One of the models of a report. `run`: how its answers were made; None when they were made elsewhere."""

    label: str
    folder: str
    run: Run | None


@dataclass(frozen=True)
class Report:
    """All of it.

    Args:
        unpaired: why several models' answers weren't compared one by one, or not by some metric; "" where they were, or
            there is one model.
    """

    title: str
    models: tuple[Model, ...]
    results: tuple[Result, ...]
    unpaired: str

    @property
    def languages(self) -> set[str]:
        return {code for result in self.results for model in result.models for code in model.scores}

    def shown(self) -> list[Result]:
        """The main results of benchmarks that control no other."""
        return [result for result in self.results if result.main and not result.control_of]

    def beside(self, result: Result) -> list[Result]:
        """The other metrics of its task."""
        return [other for other in self.results if not other.main and _task_of(other.key) == _task_of(result.key)]

    def controls(self, result: Result) -> list[Result]:
        """The same metric on the benchmarks that control this one."""
        key = result.key
        return [
            other
            for other in self.results
            if other.control_of == key.benchmark
            and (other.key.prompt_set, other.key.task, other.key.metric) == (key.prompt_set, key.task, key.metric)
        ]


def collect(evaluations: Sequence[Evaluation], title: str, settings: ScoreSettings = DEFAULTS) -> Report:
    """The numbers of evaluation folders that stand side by side.

    Args:
        settings: that they were scored with, for the paired differences, which are measured here.
    """
    sides = [(evaluation, tables(evaluation)) for evaluation in evaluations]
    keys = list(dict.fromkeys(key for _, found in sides for key in found))
    mains = set(main_keys(keys))
    models = tuple(Model(one.label, str(one.folder), one.run) for one in evaluations)
    differences, unpaired = _differences(evaluations, settings)
    unpaired = unpaired or _measured_otherwise(sides, differences)
    results = tuple(_result(sides, key, differences, main=key in mains) for key in keys)
    return Report(title, models, results, unpaired)


def _differences(evaluations: Sequence[Evaluation], settings: ScoreSettings) -> tuple[list[Comparison], str]:
    """The paired differences between models, or why there are none: evaluations of different questions stand side by
    side all the same."""
    if len(evaluations) < 2:
        return [], ""
    try:
        return compare_models({one.label: one.folder for one in evaluations}, settings=settings), ""
    except (EvaluationError, UnknownNameError) as error:
        return [], error.message


def _measured_otherwise(sides: Sequence[Side], differences: Sequence[Comparison]) -> str:
    """Which scores of several models the differences don't belong to, since they were measured with something else;
    "" where there are none."""
    here = {key_of(one) for one in differences}
    there = Counter(key for _, found in sides for key in found)
    lost = {
        f"{key.metric} was scored with {key.tokenisation} and is {other.tokenisation} here"
        for key, count in there.items()
        for other in here - there.keys()
        if count > 1 and replace(key, tokenisation=other.tokenisation) == other
    }
    return f"{'; '.join(sorted(lost))} (--lid-model names a model of languages)" if lost else ""


def _result(sides: Sequence[Side], key: Key, differences: Sequence[Comparison], *, main: bool) -> Result:
    here = [(evaluation, found) for evaluation, found in sides if key in found]
    row = next((r for e, _ in here if (r := e.benchmark(key.benchmark, key.prompt_set)) is not None), None)
    return Result(
        key=key,
        about=about(key.metric),
        percent=is_percent(key.metric),
        higher_is_better=higher_is_better(key.metric),
        main=main,
        benchmark_about=row.about if row is not None else "",
        chance=row.chance.get(key.task) if row is not None and main else None,
        ratios=row is not None and not row.chance.get(key.task),
        control_of=row.control_of if row is not None else "",
        control=row.control if row is not None else "",
        groups=row.language_groups if row is not None else {},
        models=tuple(_model_result(evaluation, found, key) for evaluation, found in here),
        differences=tuple(one for one in differences if key_of(one) == key),
    )


def _model_result(evaluation: Evaluation, found: Mapping[Key, Mapping[str, Score]], key: Key) -> ModelResult:
    scores = found[key]
    fidelity, identified = (_beside(found, key, (name,)) for name in FIDELITY)
    return ModelResult(
        model=evaluation.label,
        scores={code: scores[code] for code in best_first(scores, key.metric)},
        means=tuple(evaluation.means_of(key)),
        comparisons=tuple(evaluation.comparisons_of(key)),
        english_gap=_gaps(evaluation, scores, key),
        worst=tuple(score.language for score in worst(scores, key.metric)),
        fidelity=fidelity,
        identified=identified,
        unread=_beside(found, key, READING_FAILURES),
        questions={
            other.metric: of_questions
            for other, of_questions in found.items()
            if _task_of(other) == _task_of(key) and other != key and is_of_questions(other.metric)
        },
        parts=_parts(evaluation.parts_of(key)),
    )


def _parts(scores: Sequence[PartScore]) -> Mapping[str, Mapping[str, Mapping[str, PartScore]]]:
    found: dict[str, dict[str, dict[str, PartScore]]] = {}
    for one in scores:
        found.setdefault(one.fact, {}).setdefault(one.part, {})[one.language] = one
    return found


def _beside(found: Mapping[Key, Mapping[str, Score]], key: Key, metrics: Sequence[str]) -> Mapping[str, Score]:
    """The scores of the first of `metrics` that was measured on the same answers; none beside themselves."""
    if key.metric in (*FIDELITY, *READING_FAILURES):
        return {}
    same = (other for other in found if _task_of(other) == _task_of(key) and other.metric in metrics)
    return next((found[other] for other in same), {})


def _gaps(evaluation: Evaluation, scores: Mapping[str, Score], key: Key) -> tuple[Gap, ...]:
    """Of each group of languages; of all but English too, where there are several groups."""
    if ENGLISH not in scores:
        return ()
    english = scores[ENGLISH].value
    groups = language_groups(scores, evaluation.benchmark(key.benchmark, key.prompt_set))
    if len(groups) > 1:
        groups[OTHERS] = tuple(code for codes in groups.values() for code in codes)
    whole = next((one for one in evaluation.comparisons_of(key) if (one.kind, one.name) == ("English gap", "")), None)
    found = []
    for name, codes in groups.items():
        mean = mean_value(scores[code] for code in codes)
        low = high = math.nan
        if whole is not None and set(whole.languages) <= {ENGLISH, *codes}:
            low, high = -whole.high, -whole.low  # a comparison is less English, a gap is English less
        found.append(Gap(name, codes, english, mean, english - mean, low, high))
    return tuple(found)


def _task_of(key: Key) -> tuple[str, str, str]:
    return key.benchmark, key.prompt_set, key.task
