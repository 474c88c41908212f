"""What a report says of one benchmark: each language's bar by class of resources, gaps, means, worst languages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from visiglot.evaluate.comparisons import KINDS
from visiglot.evaluate.parts import PartScore
from visiglot.evaluate.report.cells import (
    NONE,
    compared_cell,
    failed,
    fidelity_cell,
    gap_cell,
    mean_share,
    metric_of,
    model_cell,
    model_column,
    name_of,
    several,
    with_interval,
)
from visiglot.evaluate.report.headline import add_values
from visiglot.evaluate.report.numbers import ModelResult, Report, Result
from visiglot.evaluate.summary import by_tier, is_percent
from visiglot.languages import language
from visiglot.sheet import Bar, Mark, Measure, Page, format_value

Cell = Callable[[ModelResult, str], str]

TIERS = "resource class (Joshi et al., 2020; 5 has most)"
EVENNESS = ("English ratio", "stability", "cycle accuracy", "rank variance", "rank deviation")
"""Kinds of comparison that say in one number how even the languages are."""


def add_details(page: Page, report: Report, result: Result) -> None:
    """Write the section of a task's main metric."""
    page.section(f"{name_of(result, report)}: {metric_of(result)}")
    if result.benchmark_about:
        page.paragraph(result.benchmark_about)
    _bars(page, report, result)
    _differences(page, report, result)
    _gaps(page, report, result)
    _worst(page, report, result)
    _class_means(page, report, result, "tier mean", TIERS)
    _class_means(page, report, result, "script mean", "script")
    _evenness(page, report, result)
    _parts(page, report, result)
    others = report.beside(result)
    if others:
        add_values(page, report, others, caption=f"Other metrics of {name_of(result, report)}", counts=True)
        for other in others:
            page.paragraph(f"{metric_of(other)}: {other.about}")


def _bars(page: Page, report: Report, result: Result) -> None:
    """The languages by class of resources, those with most first, from best to worst in each."""
    codes = list(dict.fromkeys(code for model in result.models for code in model.scores))
    order = sorted(set(map(by_tier, codes)), key=_most_first)
    special = list(result.groups.items())[1:]
    columns = _columns(result)
    bars = []
    for tier in order:
        heading = _tier_heading(report, result, tier)
        for code in codes:
            if by_tier(code) != tier:
                continue
            measures = tuple(
                Measure(
                    (score := model.scores[code]).value,
                    score.low,
                    score.high,
                    model.model,
                    tuple(cell(model, code) for _, cell in columns),
                )
                for model in result.models
                if code in model.scores
            )
            note = next((group for group, members in special if code in members), "")
            bars.append(Bar(language(code).name, measures, language=code, note=note, group=heading))
    page.bars(
        bars,
        caption=f"{result.key.metric} by language ({result.key.tokenisation}), by {TIERS}; means are without English",
        percent=result.percent,
        columns=[name for name, _ in columns],
        mark=Mark("chance", result.chance) if result.chance is not None else None,
    )


def _most_first(name: str) -> tuple[bool, int, str]:
    """Classes of resources by their number, highest first; names without a number behind them, by the alphabet."""
    return (not name.isdigit(), -int(name) if name.isdigit() else 0, name)


def _columns(result: Result) -> list[tuple[str, Cell]]:
    """What stands beside a bar: counts always, the rest where there is something to say."""
    models = result.models
    columns: list[tuple[str, Cell]] = [
        ("answers", lambda model, code: f"{model.scores[code].n:,}"),
        ("failed", lambda model, code: failed([model.scores[code]])),
    ]
    columns += [(name, _of_questions(name)) for name in dict.fromkeys(n for model in models for n in model.questions)]
    if any(score.undetermined for model in models for score in model.scores.values()):
        columns.append(("undetermined", lambda model, code: f"{model.scores[code].undetermined:,}"))
    if any(model.unread for model in models):
        columns.append(("nothing read", lambda model, code: mean_share(model.unread, [code])))
    if any(model.fidelity for model in models):
        columns.append(("in the language (references)", lambda model, code: fidelity_cell(model, [code])))
    return columns


def _of_questions(metric: str) -> Cell:
    def cell(model: ModelResult, code: str) -> str:
        score = model.questions.get(metric, {}).get(code)
        return NONE if score is None else format_value(score.value, percent=is_percent(metric))

    return cell


def _tier_heading(report: Report, result: Result, tier: str) -> str:
    name = f"Class {tier}" if tier.isdigit() else tier.capitalize()
    means = []
    for model in result.models:
        for found in model.compared("tier mean", tier):
            value = compared_cell(found, result)
            means.append(f"{model.model} {value}" if several(report) else value)
    return f"{name}: mean {', '.join(means)}" if means else name


def _gaps(page: Page, report: Report, result: Result) -> None:
    rows = [
        (
            gap.group,
            *model_cell(report, model),
            *(format_value(value, percent=result.percent) for value in (gap.english, gap.mean)),
            gap_cell(gap, percent=result.percent),
        )
        for model in result.models
        for gap in model.english_gap
    ]
    if rows:
        columns = ("languages", *model_column(report), "English", "their mean", "gap")
        page.table(columns, rows, caption="The English gap", numeric=range(len(columns) - 3, len(columns)))


def _class_means(page: Page, report: Report, result: Result, kind: str, heading: str) -> None:
    """A row for each class of languages, a column for each model."""
    table = []
    for name in sorted({one.name for model in result.models for one in model.compared(kind)}, key=_most_first):
        found = [next(iter(model.compared(kind, name)), None) for model in result.models]
        count = max(len(one.languages) for one in found if one is not None)
        table.append((name, str(count), *("–" if one is None else compared_cell(one, result) for one in found)))
    columns = (heading, "languages", *(model.model if several(report) else "mean" for model in result.models))
    if table:
        caption = f"Means by {heading}, English apart"
        page.table(columns, table, caption=caption, numeric=range(1, len(columns)))


def _evenness(page: Page, report: Report, result: Result) -> None:
    """One number for all languages of each kind that there is, with what it says."""
    rows = []
    for kind in EVENNESS:
        for model in result.models:
            for one in model.compared(kind, ""):
                counts = (f"{one.n:,}", f"{one.left_out:,}")
                rows.append((kind, *model_cell(report, model), compared_cell(one, result), *counts, KINDS[kind].about))
    for one in result.differences:
        if one.kind == "model relative gain":
            counts = (f"{one.n:,}", f"{one.left_out:,}")
            rows.append((one.kind, *one.models, compared_cell(one, result), *counts, KINDS[one.kind].about))
    if rows:
        first = 1 + len(model_column(report))
        columns = ("over languages", *model_column(report), "value", "answers", "left out", "what it is")
        page.table(columns, rows, caption="How even the languages are", numeric=range(first, first + 3))


def _parts(page: Page, report: Report, result: Result) -> None:
    """For each fact that parts the benchmark a table: a row for each part, of all languages together."""
    for fact in dict.fromkeys(fact for model in result.models for fact in model.parts):
        rows = []
        for name in sorted({name for model in result.models for name in model.parts.get(fact, {})}):
            own = [model.parts.get(fact, {}).get(name, {}) for model in result.models]
            codes = {code for found in own for code in found} - {""}
            count = max(_together(found).n for found in own if found)
            rows.append((name, str(len(codes)), f"{count:,}", *(_part_cell(found, result) for found in own)))
        columns = (
            fact,
            "languages",
            "answers",
            *(model.model if several(report) else "value" for model in result.models),
        )
        caption = f"{result.key.metric} by {fact}, each answer counting alike; behind it the language that does worst"
        page.table(columns, rows, caption=caption, numeric=range(1, len(columns)))


def _together(found: Mapping[str, PartScore]) -> PartScore:
    """Of all languages; of the only one where there is one."""
    return found.get("") or next(iter(found.values()))


def _part_cell(found: Mapping[str, PartScore], result: Result) -> str:
    if not found:
        return NONE
    shown = with_interval(_together(found), percent=result.percent)
    sign = 1 if result.higher_is_better else -1
    known = [one for code, one in found.items() if code and math.isfinite(one.value)]
    if "" not in found or not known:
        return shown
    worst = min(known, key=lambda one: (sign * one.value, one.language))
    return f"{shown}; {language(worst.language).name} {format_value(worst.value, percent=result.percent)}"


def _differences(page: Page, report: Report, result: Result) -> None:
    """Each other model less the first: over all languages first, then the languages, worst for the other first."""
    found = [one for one in result.differences if one.kind == "difference"]
    many = len(report.models) > 2
    single = [one for one in found if one.languages == (one.name,)]
    single.sort(key=lambda one: (one.models, one.value if result.higher_is_better else -one.value))
    rows = [
        (
            language(one.name).name if one.languages == (one.name,) else one.name,
            *((" less ".join(reversed(one.models)),) if many else ()),
            compared_cell(one, result),
            "–" if math.isnan(one.p) else f"{one.p:.3f}",
            f"{one.n:,}",
            f"{one.left_out:,}",
        )
        for one in (*(one for one in found if one not in single), *single)
    ]
    if rows:
        columns = ("languages", *(("models",) if many else ()), "difference (interval)", "p", "answers", "left out")
        pair = "" if many else f", {' less '.join(reversed(found[0].models))},"
        page.table(
            columns,
            rows,
            caption=f"Paired differences{pair} on the answers that both models gave, from the same resamples. p: of no "
            "difference, two-sided, by paired bootstrap, each row by itself.",
            numeric=range(len(columns) - 4, len(columns)),
        )


def _worst(page: Page, report: Report, result: Result) -> None:
    cells = _columns(result)
    rows = [
        (
            language(code).name,
            *model_cell(report, model),
            with_interval(model.scores[code], percent=result.percent),
            *(cell(model, code) for _, cell in cells),
        )
        for model in result.models
        for code in model.worst
    ]
    columns = ("language", *model_column(report), f"{result.key.metric} (interval)", *(name for name, _ in cells))
    first = len(columns) - len(cells) - 1
    page.table(columns, rows, caption="The five worst languages", numeric=range(first, len(columns)))
