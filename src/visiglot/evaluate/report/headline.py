"""The head of a report: a line for each benchmark, with groups of languages, controls, chance and what failed."""

from __future__ import annotations

from collections.abc import Sequence

from visiglot.evaluate import intervals
from visiglot.evaluate.means import ALL
from visiglot.evaluate.report.cells import (
    NONE,
    failed,
    fidelity_cell,
    mean_share,
    model_cell,
    model_column,
    name_of,
    total,
    with_interval,
)
from visiglot.evaluate.report.numbers import ModelResult, Report, Result
from visiglot.languages import ENGLISH
from visiglot.sheet import Page, format_value


def add_headline(page: Page, report: Report) -> None:
    """Write the section: the main metric of each task."""
    page.section("At a glance")
    results = report.shown()
    add_values(
        page,
        report,
        results,
        caption="Means over languages, each language counting alike, with their intervals in brackets and the number "
        "of languages behind.",
    )
    _beside(page, report, results)
    _relations(page, report)
    if report.unpaired:
        page.paragraph(f"The models' answers could not be compared one by one: {report.unpaired}")
    for about in dict.fromkeys(f"{result.key.metric}: {result.about}" for result in results):
        page.paragraph(about)
    page.paragraph(
        f"Intervals are {100 * intervals.LEVEL:.0f} % percentile bootstrap intervals from {intervals.RESAMPLES} "
        "resamples of whole groups of answers about one thing, drawn once for all languages of a benchmark. Failed "
        "answers (a picture that couldn't be read, a generation that broke) are counted and take no part in any value; "
        "answers that a metric can't judge are counted as undetermined."
    )


def add_values(page: Page, report: Report, results: Sequence[Result], *, caption: str, counts: bool = False) -> None:
    """A table of English and of the means over each group of languages.

    Args:
        counts: say how many answers there are and how many the metric couldn't judge, and what controls give.
    """
    groups = list(
        dict.fromkeys(
            mean.group
            for result in results
            for model in result.models
            for mean in model.means
            if mean.group != ALL and not mean.relative_to
        )
    )
    rows = []
    for result in results:
        for model in result.models:
            cells = [_english(result, model)]
            for group in groups:
                mean = model.mean(group)
                shown = mean and f"{with_interval(mean, percent=result.percent)} in {len(mean.languages)}"
                cells.append(shown or NONE)
            if counts:
                numbers = (total(model.scores, "n"), total(model.scores, "undetermined"))
                cells += [controls_cell(report, result, model), *numbers]
            rows.append((name_of(result, report), *model_cell(report, model), result.key.metric, *cells))
    head = ("benchmark", *model_column(report), "metric")
    columns = (*head, "English", *groups, *(("controls", "answers", "undetermined") if counts else ()))
    page.table(columns, rows, caption=caption, numeric=range(len(head), len(columns)))


def _english(result: Result, model: ModelResult) -> str:
    return with_interval(model.scores[ENGLISH], percent=result.percent) if ENGLISH in model.scores else NONE


def _beside(page: Page, report: Report, results: Sequence[Result]) -> None:
    """Controls, chance, how many answers are in the language, how many there are, and how many can't be used."""
    faithful = any(model.fidelity for result in results for model in result.models)
    unread = any(model.unread for result in results for model in result.models)
    rows = [
        (
            name_of(result, report),
            *model_cell(report, model),
            result.key.metric,
            controls_cell(report, result, model),
            NONE if result.chance is None else format_value(result.chance, percent=result.percent),
            *((fidelity_cell(model, list(model.scores)),) if faithful else ()),
            total(model.scores, "n"),
            failed(model.scores.values()),
            total(model.scores, "undetermined"),
            *((mean_share(model.unread),) if unread else ()),
        )
        for result in results
        for model in result.models
    ]
    head = ("benchmark", *model_column(report), "metric")
    tail = ("answers", "failed", "undetermined", *(("nothing read",) if unread else ()))
    columns = (*head, "controls", "chance", *(("in the language",) if faithful else ()), *tail)
    caption = "What to hold them against, and how many answers there are. Controls are means over all languages."
    if faithful:
        caption += " In brackets: how many references the identifier takes for the language."
    if any(score.unchecked for result in results for model in result.models for score in model.scores.values()):
        caption += (
            " With + ?: these answers were made elsewhere, and whether each question has one was never checked; "
            "`visiglot evaluate --predictions FILE --data FOLDER` does."
        )
    if unread:
        caption += " Nothing read: answers in which no option or yes or no was found; they count as wrong."
    page.table(columns, rows, caption=caption, numeric=range(len(head), len(columns)))


def controls_cell(report: Report, result: Result, model: ModelResult) -> str:
    """What the model reaches where something is taken from it: "wrong image 1.2 % (0.8–1.7)"."""
    cells = []
    for control in report.controls(result):
        own = control.of(model.model)
        mean = own.mean(ALL) if own is not None else None
        if mean is not None:
            cells.append(f"{control.control} {with_interval(mean, percent=result.percent)}")
    return "; ".join(cells) or NONE


def _relations(page: Page, report: Report) -> None:
    """What the benchmarks' other groups of languages reach of the usual one's mean."""
    rows = []
    for result in report.results:
        if not result.ratios or result.control_of:
            continue
        first = next(iter(result.groups), "")
        for group in result.groups:
            for model in result.models:
                mean = model.mean(group, relative_to=first)
                if mean is not None:
                    cells = (result.key.metric, f"{group} / {first}", with_interval(mean, percent=True))
                    rows.append((name_of(result, report), *model_cell(report, model), *cells))
    if rows:
        columns = ("benchmark", *model_column(report), "metric", "means of", "ratio")
        page.table(columns, rows, caption="Groups of languages compared", numeric=[len(columns) - 1])
