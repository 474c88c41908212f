from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.drawn import drawn_recipe
from tests.unit.cli.conftest import Run

from visiglot.cli.recipes import bibtex
from visiglot.config import dump_recipe, load_recipe, read_recipe_text, recipe_names
from visiglot.data.parquet_source import write_examples
from visiglot.types import Example, ImageRef, ImageSlot, Message


def recipe_file(folder: Path, **changes: object) -> Path:
    path = folder / "drawn.yaml"
    text = dump_recipe(drawn_recipe({"steps": 2}).model_copy(update=changes))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", recipe_names())
def test_show_prints_a_recipe_as_it_is_written(run: Run, name: str) -> None:
    assert run("recipes", "show", name).stdout == read_recipe_text(name)


@pytest.mark.parametrize("name", recipe_names())
def test_cite_prints_an_entry_for_each_key(run: Run, name: str) -> None:
    printed = run("recipes", "show", name, "--cite").stdout
    assert re.findall(r"^@\w+\{(.+),$", printed, flags=re.MULTILINE) == list(load_recipe(name).cite)


def test_a_bibtex_entry_has_its_braces_closed_and_its_fields() -> None:
    entry = bibtex("mblip")
    assert entry.count("{") == entry.count("}")
    assert re.search(r"eprint\s+= \{2307\.06930\}", entry)


def test_ls_lists_every_recipe(run: Run) -> None:
    printed = run("recipes", "ls").stdout
    assert all(name in printed for name in recipe_names())


def test_check_says_that_the_built_in_recipes_are_fine(run: Run) -> None:
    result = run("recipes", "check")
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if not line.startswith(" ")] == [
        f"{name}: fine" for name in recipe_names()
    ]


def test_check_finds_names_that_are_in_no_table(run: Run, tmp_path: Path) -> None:
    path = recipe_file(tmp_path, cite=("mblop",))
    result = run(
        "recipes",
        "check",
        path,
        "model.connector.type=qfromer",
        "stages.0.objective=generat",
        "evaluate.benchmarks=[nan]",
    )
    assert result.exit_code == 2
    assert "4 problem(s)" in result.stdout
    for said in ("'qformer'", "'generate'", "'nano'", "'mblip'"):
        assert said in result.stderr


def test_plan_counts_draws_by_source_and_language(run: Run, tmp_path: Path) -> None:
    result = run("data", "plan", recipe_file(tmp_path), "stages.0.steps=3")
    assert result.exit_code == 0
    assert "stage stage0: generate, 3 steps of 8 examples, 24 in all" in result.stdout
    assert re.search(r"deu_Latn\s+12\s+12", result.stdout)


def test_check_counts_what_cannot_be_used_and_draws_a_sheet(run: Run, tmp_path: Path, pictures: Path) -> None:
    def example(name: str, file: str, answer: str) -> Example:
        turns = (Message("user", ("Caption: ", ImageSlot(0))), Message("assistant", (answer,)))
        return Example(name, turns, "deu_Latn", (ImageRef(file, path=pictures / file),))

    path = tmp_path / "data.parquet"
    examples = [
        example("good", "a.png", "ein Kreis"),
        example("broken", "bad.jpg", "x"),
        example("empty", "a.png", " "),
    ]
    write_examples(path, examples)
    sheet = tmp_path / "sheet.html"
    result = run("data", "check", path, "--sheet", sheet)
    assert result.exit_code == 1
    assert "3 examples looked at, 2 can't be used" in result.stdout
    assert "broken: picture bad.jpg" in result.stdout
    assert "empty: its answer is empty" in result.stdout
    assert "ein Kreis" in sheet.read_text(encoding="utf-8")


def test_doctor_says_what_is_there_and_exits_with_0(run: Run, cache: Path) -> None:
    run_folder = cache / "runs" / "started"
    run_folder.mkdir(parents=True)
    result = run("doctor")
    assert result.exit_code == 0
    for said in ("torch", "transformers", "memory", "bf16", str(cache), "npm", "visiglot data nano"):
        assert said in result.stdout
    assert "started: no complete checkpoint yet" in result.stdout


def test_languages_takes_names_and_sets(run: Run) -> None:
    printed = run("languages", "Swahili", "--json").stdout
    assert '"swh_Latn"' in printed
    assert '"deu_Latn"' not in printed
