"""The second stage of `visiglot evaluate`: scores, shown and reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiglot.cli.console import stdout

if TYPE_CHECKING:
    from visiglot.evaluate.means import GroupMean
    from visiglot.evaluate.summary import Evaluation, Key
    from visiglot.types import Score


def score(folder: Path, seed: int, lid_model: Path | None = None) -> None:
    """Score an evaluation folder, show the scores and write the report."""
    from visiglot.evaluate.metrics import ScoreSettings
    from visiglot.evaluate.report import build_report
    from visiglot.evaluate.score import score_predictions

    settings = ScoreSettings(lid_model)
    score_predictions(folder, seed=seed, settings=settings)
    _print_scores(folder)
    written = build_report([folder], folder, settings=settings)
    typer.echo(f"report: {written.html}, {written.markdown.name} and {written.json.name}")


def _print_scores(folder: Path) -> None:
    """English, the means over groups of languages and their ratios for each benchmark and metric (of controls the mean
    over all), then the languages of the main metric of each benchmark that is no control, best first."""
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text

    from visiglot.evaluate.report.cells import failed, with_interval
    from visiglot.evaluate.summary import best_first, controls_of, is_percent, load_evaluations, main_keys, tables
    from visiglot.sheet import format_value

    table = Table(box=None, pad_edge=False)
    for heading in ("benchmark", "metric", "languages"):
        table.add_column(heading)
    for heading in ("value (interval)", "answers", "failed"):
        table.add_column(heading, justify="right")
    evaluation = load_evaluations([folder])[0]
    found = tables(evaluation)
    for key, scores in found.items():
        head = (_title(key), key.metric)
        lacking = failed(scores.values())
        for name, value, percent in _lines(evaluation, key, scores):
            shown = with_interval(value, percent=percent)
            table.add_row(*head, name, shown, f"{value.n:,}", lacking if head[0] else "")
            head = ("", "")
    console = stdout()
    console.print(table)
    controls = controls_of([(evaluation, found)])
    for key in main_keys(found):
        scores = found[key]
        if len(scores) > 1 and (key.benchmark, key.prompt_set) not in controls:
            percent = is_percent(key.metric)
            shown_of = {
                code: format_value(scores[code].value, percent=percent) for code in best_first(scores, key.metric)
            }
            width = max(map(len, shown_of.values()))
            cells = [Text(f"{code} {value:>{width}}") for code, value in shown_of.items()]
            console.print(Text(f"\n{_title(key)}, {key.metric}, best first:"))
            console.print(Columns(cells, padding=(0, 3), column_first=True, equal=True))


def _lines(
    evaluation: Evaluation, key: Key, scores: Mapping[str, Score]
) -> Iterator[tuple[str, Score | GroupMean, bool]]:
    """(languages, value, whether it is a share) of each line about one metric of a benchmark."""
    from visiglot.evaluate.means import ALL
    from visiglot.evaluate.summary import is_percent
    from visiglot.languages import ENGLISH

    row = evaluation.benchmark(key.benchmark, key.prompt_set)
    means = [mean for mean in evaluation.means_of(key) if not (mean.relative_to and row and row.chance.get(key.task))]
    if not means:  # everything failed, which must be seen
        yield f"{ALL} (0)", next(iter(scores.values())), is_percent(key.metric)
    elif row is not None and row.control_of:
        means = [mean for mean in means if mean.group == ALL]
    elif ENGLISH in scores:
        yield "English", scores[ENGLISH], is_percent(key.metric)
    for mean in means:
        if mean.relative_to:
            yield f"{mean.group} / {mean.relative_to}", mean, True
        else:
            yield f"{mean.group} ({len(mean.languages)})", mean, is_percent(key.metric)


def _title(key: Key) -> str:
    return f"{key.benchmark} {key.prompt_set}".strip()
