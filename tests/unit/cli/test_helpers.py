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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages.0.parts.conector.train=full", "parts.conector: the model has no such part; did you mean 'connector'"),
        ("stages.0.parts.connector.train=lora", "`lora` is for language_model"),
        ("stages.0.options.foo=1", "options.foo"),
        ("model.connector.options={num_querys: 3}", "options.num_querys: no such key"),
        ("model.connector.options.heads=0", "model.connector: its values make no module"),
        ("model.connector.fresh=[projektion]", "the connector has no 'projektion'; did you mean 'projection'"),
        ("model.vision={config: {model_type: vit, hiden_size: 3}}", "did you mean 'hidden_size'"),
        ("model.language_model.config.d_model=-3", "model.language_model"),
        ("model.vision={from: nosuchrun}", "no model 'nosuchrun'"),
        ("model.language_model={from: nano-ml}", "'nano-lm'"),
        ("data.sources=[{type: nano, options: {task: caption, lmit_concepts: 3}}]", "did you mean 'limit_concepts'"),
        ("data.sources=[{type: nano, options: {task: caption, categories: [plnt]}}]", "'plant'"),
        ("data.sources=[{type: nano, options: {task: caption}, languages: klingon}]", "'klingon'"),
        ("evaluate.languages=klingon", "evaluate.languages: no such language or set: 'klingon'"),
    ],
)
def test_check_finds_what_the_schema_cannot_know(run: Run, tmp_path: Path, override: str, said: str) -> None:
    result = run("recipes", "check", recipe_file(tmp_path), override)
    assert result.exit_code == 2
    assert said.lower() in result.stderr.lower()
    assert "drawn.yaml: 1 problem(s)" in result.stdout


def test_check_says_all_problems_at_once(run: Run) -> None:
    result = run(
        "recipes",
        "check",
        "nano-english",
        "model.vision.config.hiden_sizes=[3]",
        "model.connector.options.heads=0",
        "stages.1.options.imag=vision",
        "evaluate.benchmarks=[nan]",
    )
    assert result.exit_code == 2
    assert "4 problem(s)" in result.stdout


def test_a_source_without_examples_is_an_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    write_examples(path, [])
    result = run("data", "check", path)
    assert result.exit_code == 2
    assert "source empty has no examples" in result.stderr


def test_an_option_that_is_no_yaml_is_said(run: Run) -> None:
    result = run("data", "check", "nano", "task=[x")
    assert result.exit_code == 2
    assert "its value is no YAML" in result.stderr


def test_a_missing_task_is_said_with_all_tasks(run: Run) -> None:
    assert "one of caption, " in run("data", "check", "nano").stderr


def test_a_folder_of_packages_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    result = run("data", "nano", "--packages", tmp_path / "none")
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr


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
    for said in ("torch", "memory", "bf16", "quantize", "deepspeed", "tensorboard", str(cache), "visiglot data nano"):
        assert said in result.stdout
    assert "started: no complete checkpoint yet" in result.stdout


def test_languages_takes_names_and_sets(run: Run) -> None:
    printed = run("languages", "Swahili", "--json").stdout
    assert '"swh_Latn"' in printed
    assert '"deu_Latn"' not in printed
