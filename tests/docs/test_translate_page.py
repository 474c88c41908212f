"""docs/translate.md knows every engine, option, licence, reason and limit, with the values that the code has."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from visiglot.cli import app
from visiglot.data.licences import ENGINES as LICENCES
from visiglot.language_id import covers
from visiglot.languages import all_languages, resolve
from visiglot.translate import folder, labels, pipeline, sentences, tally, translator
from visiglot.translate.engine import ENGINES
from visiglot.translate.engines import openai, seq2seq
from visiglot.translate.filters import REASONS
from visiglot.translate.jobs import SHARD

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "translate.md").read_text(encoding="utf-8")
LIMITS = tomllib.loads((ROOT / "src" / "visiglot" / "translate" / "filters.toml").read_text(encoding="utf-8"))
NAMES = [name for name in ENGINES.names() if inspect.getmodule(ENGINES.get(name)).__name__.startswith("visiglot.")]  # type: ignore[union-attr]


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table whose first line is `heading`."""
    found = re.search(rf"^{re.escape(heading)}\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    assert found, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_engine_has_a_row_and_no_other() -> None:
    assert sorted(name for row in rows("| engine | translates by | languages |") for name in names(row[0])) == NAMES


@pytest.mark.parametrize("engine", NAMES)
def test_an_engine_has_these_options_with_these_defaults(engine: str) -> None:
    table = rows("| engine | option | default | |")
    told = {option: row[2] for row in table if engine in names(row[0]) for option in names(row[1])}

    def shown(default: Any) -> str:
        words = {inspect.Parameter.empty: "needed", openai.PROMPT: "below"}
        return "" if default is None else words.get(default, str(default).lower())

    parameters = inspect.signature(ENGINES.get(engine)).parameters
    assert told == {name: shown(parameter.default) for name, parameter in parameters.items()}


def test_the_prompt_is_the_one_that_is_sent() -> None:
    assert f"```text\n{openai.PROMPT}\n```" in PAGE


def test_licences_are_those_of_the_table() -> None:
    assert dict(rows("| model | licence |")) == LICENCES


def test_every_reason_has_a_row_in_the_order_of_the_filters() -> None:
    table = rows("| reason | when | limits |")
    assert [name for row in table for name in names(row[0])] == list(REASONS)
    assert sorted(name for row in table for name in names(row[2])) == sorted(LIMITS["any"])
    assert f"`{translator.NO_TRANSLATION}`, and `{pipeline.LABEL}`" in PAGE


def test_limits_are_those_of_the_filters() -> None:
    assert {name: float(row[1]) for row in rows("| limit | default | |") for name in names(row[0])} == LIMITS["any"]


def test_what_differs_by_script_is_what_the_filters_have() -> None:
    scripts = LIMITS["scripts"]
    told = {}
    for script, length, rest in rows("| script | length | |"):
        told[script] = {"length": float(length), **{k: float(v) for k, v in re.findall(r"`(\w+)` ([\d.]+)", rest)}}
    assert told == {script: values for script, values in scripts.items() if set(values) != {"length"}}
    assert f"each of {len(scripts)} scripts" in PAGE
    assert f"{len(LIMITS['languages'])} languages that are far" in PAGE
    examples = re.findall(r"(\d\.\d\d) for\s(\w{4})", PAGE)
    assert len(examples) == 3
    assert all(scripts[script]["length"] == float(length) for length, script in examples)


def test_what_becomes_of_labels_is_what_the_report_counts() -> None:
    section = PAGE.partition("## Labels")[2].partition("## Engines")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) == [
        tally.TRANSLATED,
        *labels.REASONS,
        tally.INCOMPLETE,
    ]


def test_files_are_those_that_the_folder_has() -> None:
    told = {name for row in rows("| in `--out` | |") for name in names(row[0])}
    files = {folder.ABOUT, folder.LEDGER, folder.SAMPLES, folder.LOG, folder.REPORT, folder.LOCK}
    assert told == {*files, "<source>.parquet", f"{folder.SHARDS}/"}


def test_options_are_those_of_the_command() -> None:
    command = typer.main.get_command(app).commands["translate"]  # type: ignore[attr-defined]
    known = {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)}
    told = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--help"}
    assert told <= known
    assert {one for one in known if one.startswith("--")} - told == {"--resume"}


def test_as_many_languages_are_identified_as_it_says() -> None:
    table, trained = all_languages(), resolve("mblip")
    known = sum(covers(row.code) for row in table)
    told = f"knows {known} of the {len(table)} languages of the table, and {sum(map(covers, trained))} of mBLIP's 96."
    assert told in " ".join(PAGE.split())
    assert len(trained) == 96


def test_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"more than {sentences.LONGEST_WORDS} words or {sentences.LONGEST} characters" in text
    assert f"{sentences.LONGEST_UNSPACED} where words have no spaces" in text
    assert f"in shards of {SHARD}." in text
    assert f"given, at most {translator.ASKED_TOGETHER:,}." in text
    assert f"up to {tally.SAMPLES} examples of each fate" in text
    assert f"with {seq2seq.MARGIN} more" in text
    budgets = seq2seq.BATCH_TOKENS
    assert f"{budgets['cpu']:,} on a CPU, {budgets['cuda']:,} on a GPU" in text
