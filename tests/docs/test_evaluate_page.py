"""docs/evaluate.md knows every benchmark, metric, tokenisation, option and file, and the fields of report.json."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from visiglot.cli import app
from visiglot.evaluate import intervals, predictions
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.comparisons import KINDS
from visiglot.evaluate.elsewhere import FORMS
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.report import numbers, values
from visiglot.evaluate.segmentation import SEGMENTATIONS
from visiglot.evaluate.summary import Key

PAGE = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())


def ours(table: Any) -> list[str]:
    """Names of the things that come with the package, without those that tests or plug-ins add."""

    def home(thing: Any) -> str:
        functions = (
            thing,
            getattr(thing, "load", None),
            getattr(thing, "measure", None),
            getattr(thing, "tokenise", None),
        )
        bare = [getattr(one, "func", one) for one in functions if one is not None]
        return next((module.__name__ for one in bare if callable(one) and (module := inspect.getmodule(one))), "")

    return [name for name, thing in table.items() if home(thing).startswith("visiglot.")]


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table whose first line is `heading`."""
    found = re.search(rf"^{re.escape(heading)}\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    assert found, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


BENCHMARK_ROWS = {
    name: row
    for row in rows("| benchmark | languages | metric of the bars | below `ROOT/<benchmark>/` |")
    for name in names(row[0])
}


def test_every_benchmark_has_a_row_and_no_other() -> None:
    assert sorted(BENCHMARK_ROWS) == [name for name in ours(BENCHMARKS) if not name.startswith("nano")]


@pytest.mark.parametrize("name", BENCHMARK_ROWS)
def test_a_benchmarks_bars_show_the_metric_that_its_row_says(name: str) -> None:
    mains = {metrics[0] for metrics in BENCHMARKS.get(name).metrics.values()}
    assert mains == {told for told in names(BENCHMARK_ROWS[name][2]) if not told.startswith("--")}


@pytest.mark.parametrize("name", BENCHMARK_ROWS)
def test_a_benchmarks_prompt_sets_are_those_of_the_page(name: str) -> None:
    told = {names(row[0])[0] for row in rows("| set | |")}
    assert set(BENCHMARKS.get(name).prompt_sets) <= told - {"english"}


def test_every_metric_has_a_row_and_no_other() -> None:
    told = [name for row in rows("| metric | what it is | equals |") for name in names(row[0])]
    assert sorted(told) == sorted(ours(METRICS))


def test_metrics_that_are_no_shares_are_named() -> None:
    sentence = re.search(r"CIDEr too; of (.*?) it isn't\.", TEXT)
    assert sentence is not None
    assert sorted(names(sentence[1])) == [name for name in ours(METRICS) if not METRICS.get(name).percent]


def test_every_tokenisation_has_a_row_and_no_other() -> None:
    assert sorted(name for row in rows("| tokenisation | |") for name in names(row[0])) == ours(SEGMENTATIONS)


def test_every_form_of_answers_has_a_row_with_the_fields_that_tell_it() -> None:
    told = {row[0].strip("`"): set(names(row[2])) for row in rows("| form | whose | fields that tell it | question |")}
    assert told == {name: form.fields for name, form in FORMS.items()}


def test_every_kind_of_comparison_has_a_row_and_no_other() -> None:
    told = [name for row in rows("| in `comparisons.jsonl` | |") for name in names(row[0])]
    assert sorted(told) == sorted(KINDS)


def test_options_are_those_of_the_command() -> None:
    command = typer.main.get_command(app).commands["evaluate"]  # type: ignore[attr-defined]
    known = {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)}
    told = {name for row in rows("| option | |") for name in names(row[0]) if name.startswith("--")}
    assert told <= known
    assert {one for one in known if one.startswith("--")} - told == {"--resume"}


def test_files_are_those_of_an_evaluation_folder() -> None:
    told = {name for row in rows("| in `--out` | |") for name in names(row[0])}
    files = {predictions.SCORES, predictions.MEANS, predictions.COMPARISONS, predictions.RUN}
    assert files | {"report.html", "report.md", "report.json"} <= told


def test_the_schema_of_the_json_is_that_of_the_objects() -> None:
    told = {name for row in rows("| in `report.json` | |") for name in names(row[0])}
    assert told == {"format", *(field.name for field in fields(numbers.Report))}
    table = rows("| in a result | |")
    assert {name for row in table for name in names(row[0])} == {field.name for field in fields(numbers.Result)}
    cells = {row[0]: names(row[1]) for row in table}
    assert set(cells["`key`"]) == {field.name for field in fields(Key)}
    assert {field.name for field in fields(numbers.ModelResult)} <= set(cells["`models`"])
    assert f"| `format` | {values.FORMAT};" in PAGE


def test_intervals_are_as_the_code_makes_them() -> None:
    assert f"{100 * intervals.LEVEL:.0f} % percentile bootstrap intervals of {intervals.RESAMPLES:,} resamples" in TEXT
