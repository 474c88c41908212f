"""The head of a report: a line for each benchmark and metric, with groups of languages, controls and chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from visiglot.evaluate import intervals
from visiglot.evaluate.means import ALL, GroupMean
from visiglot.evaluate.summary import (
    Evaluation,
    Key,
    Side,
    Tables,
    about,
    is_percent,
    language_groups,
    main_keys,
    title_of,
)
from visiglot.languages import ENGLISH
from visiglot.sheet import Page, format_value
from visiglot.types import Score


def controls_of(sides: Sequence[Side]) -> set[tuple[str, str]]:
    """(benchmark, prompt set) of those that control another."""
    return {
        (key.benchmark, key.prompt_set)
        for evaluation, found in sides
        for key in found
        if (row := evaluation.benchmark(key.benchmark, key.prompt_set)) is not None and row.control_of
    }


def add_headline(page: Page, sides: Sequence[Side], keys: Sequence[Key]) -> None:
    """Write the section. `keys`: its lines, in their order."""
    page.section("At a glance")
    controls = controls_of(sides)
    groups = list(
        dict.fromkeys(
            name
            for evaluation, found in sides
            for key, scores in found.items()
            for name in language_groups(scores, evaluation.benchmark(key.benchmark, key.prompt_set))
        )
    )
    model = ("model",) if len(sides) > 1 else ()
    values, beside = [], []
    for key in keys:
        if (key.benchmark, key.prompt_set) in controls:
            continue
        for evaluation, found in sides:
            if key in found:
                head = (title_of(key, found), *((evaluation.label,) if model else ()), key.metric)
                values.append((*head, *_values(evaluation, found[key], key, groups)))
                beside.append((*head, *_beside(evaluation, found, key)))
    first = len(model) + 2
    columns = ("benchmark", *model, "metric", "English", *groups)
    page.table(
        columns,
        values,
        caption="Means over languages, each language counting alike, with their intervals in brackets and the number "
        "of languages behind.",
        numeric=range(first, len(columns)),
    )
    columns = ("benchmark", *model, "metric", "controls", "chance", "answers", "failed")
    caption = "What to hold them against, and how many answers there are. Controls are means over all languages."
    page.table(columns, beside, caption=caption, numeric=range(first, len(columns)))
    _relations(page, sides, keys, controls)
    for metric in dict.fromkeys(key.metric for key in keys):
        page.paragraph(f"{metric}: {about(metric)}")
    page.paragraph(
        f"Intervals are {100 * intervals.LEVEL:.0f} % percentile bootstrap intervals from {intervals.RESAMPLES} "
        "resamples of whole groups of answers about one thing, drawn once for all languages of a benchmark. Failed "
        "answers (a picture that couldn't be read, a generation that broke) are counted and take no part in any value."
    )


def _values(evaluation: Evaluation, scores: Mapping[str, Score], key: Key, groups: Sequence[str]) -> tuple[str, ...]:
    """English, and the mean over each group."""
    percent = is_percent(key.metric)
    cells = [with_interval(scores[ENGLISH], percent=percent) if ENGLISH in scores else "–"]
    for group in groups:
        mean = evaluation.mean(key, group)
        cells.append("–" if mean is None else f"{with_interval(mean, percent=percent)} in {len(mean.languages)}")
    return tuple(cells)


def _beside(evaluation: Evaluation, found: Tables, key: Key) -> tuple[str, ...]:
    """Controls, chance, and how many answers there are and how many failed."""
    scores, percent = found[key], is_percent(key.metric)
    row = evaluation.benchmark(key.benchmark, key.prompt_set)
    controls = []
    for other in found:
        control = evaluation.benchmark(other.benchmark, other.prompt_set)
        same = (other.prompt_set, other.task, other.metric) == (key.prompt_set, key.task, key.metric)
        mean = evaluation.mean(other, ALL)
        if control is not None and same and control.control_of == key.benchmark and mean is not None:
            controls.append(f"{control.control} {with_interval(mean, percent=percent)}")
    chance = row.chance.get(key.task) if row is not None and key in main_keys(found) else None
    return (
        "; ".join(controls) or "–",
        "–" if chance is None else format_value(chance, percent=percent),
        f"{sum(score.n for score in scores.values()):,}",
        f"{sum(score.missing for score in scores.values()):,}",
    )


def _relations(page: Page, sides: Sequence[Side], keys: Sequence[Key], controls: set[tuple[str, str]]) -> None:
    """What the benchmarks' other groups of languages reach of the usual one's mean; not where guessing gives much of
    both."""
    rows = []
    for key in keys:
        for evaluation, _ in sides:
            row = evaluation.benchmark(key.benchmark, key.prompt_set)
            if row is None or row.chance.get(key.task) or (key.benchmark, key.prompt_set) in controls:
                continue
            first = next(iter(row.language_groups), "")
            for group in row.language_groups:
                mean = evaluation.mean(key, group, relative_to=first)
                if mean is not None:
                    model = (evaluation.label,) if len(sides) > 1 else ()
                    cells = (key.metric, f"{group} / {first}", with_interval(mean, percent=True))
                    rows.append((f"{key.benchmark} ({key.prompt_set})", *model, *cells))
    if rows:
        columns = ("benchmark", *(("model",) if len(sides) > 1 else ()), "metric", "means of", "ratio")
        page.table(columns, rows, caption="Groups of languages compared", numeric=[len(columns) - 1])


def with_interval(found: Score | GroupMean, *, percent: bool) -> str:
    """ "41.3 % (39.0–43.5)"; the value alone where nothing is known of its spread."""
    value, low, high = (format_value(one, percent=percent) for one in (found.value, found.low, found.high))
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return value
    return f"{value} ({low.removesuffix(' %')}–{high.removesuffix(' %')})"
