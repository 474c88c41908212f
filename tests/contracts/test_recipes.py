"""Every recipe that comes with the package is whole: it loads, can be written back, and names only what exists."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from visiglot.config import DataSection, PartSource, Recipe, dump_recipe, load_recipe, recipe_names, recipes_folder
from visiglot.config.model import SAME
from visiglot.languages import resolve

RECIPES = recipe_names()


@cache
def recipe(name: str) -> Recipe:
    return load_recipe(name)


def data_sections(recipe: Recipe) -> Iterator[DataSection]:
    yield recipe.data
    yield from (stage.data for stage in recipe.stages if stage.data is not None)


def froms(recipe: Recipe) -> Iterator[str]:
    """The models that parts are taken from."""
    model = recipe.model
    found = [model.vision.from_, model.connector.from_, model.language_model.from_]
    if isinstance(model.language_model.tokenizer, str):
        found.append(model.language_model.tokenizer)
    yield from (name for name in found if name is not None)


def refused(factory: Any, options: Mapping[str, Any], *given: str) -> list[str]:
    """Options that the factory doesn't take, and arguments that it needs and neither `options` nor `given` has."""
    parameters = {name: p for name, p in inspect.signature(factory).parameters.items() if name not in given}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return []
    needed = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty and name not in options]
    return [name for name in options if name not in parameters] + needed


def test_the_recipes_of_the_built_in_model_are_there() -> None:
    assert {"nano-english", "nano-lm", "nano"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_named_as_its_file_and_says_what_it_is(name: str) -> None:
    assert recipe(name).name == name
    assert recipe(name).about.endswith(".")
    assert recipe(name).licence


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_written_back_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    written = tmp_path / "resolved.yaml"
    written.write_text(dump_recipe(recipe(name)), encoding="utf-8")
    assert load_recipe(str(written)) == recipe(name)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_cites_known_works(name: str) -> None:
    citations = tomllib.loads((recipes_folder() / "citations.toml").read_text(encoding="utf-8"))
    assert recipe(name).cite, "a recipe says whose method it follows"
    assert set(recipe(name).cite) <= citations.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_languages_by_code_or_set(name: str) -> None:
    from visiglot.languages import all_languages, sets

    known = {row.code for row in all_languages()} | set(sets())
    for section in data_sections(recipe(name)):
        written = [section.languages] if isinstance(section.languages, str) else section.languages
        assert resolve(section.languages)
        assert {item.strip().removeprefix("-") for spec in written for item in spec.split(",")} <= known


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_known_sources_with_options_that_they_take(name: str) -> None:
    from visiglot.data.source import SOURCES

    for section in data_sections(recipe(name)):
        for source in section.sources:
            assert refused(SOURCES.get(source.type), source.options, "languages", "seed") == []


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_known_tasks_and_allocations_that_its_languages_have(name: str) -> None:
    from visiglot.data.allocation import allocation_problems
    from visiglot.data.opening import section_problems

    for section in data_sections(recipe(name)):
        assert [problem for source in section.sources for problem in section_problems(source, section)] == []
        if section.allocation is not None:
            assert allocation_problems(section.allocation, resolve(section.languages)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_can_be_trained_or_says_which_sources_are_to_be_translated_first(name: str) -> None:
    from visiglot.cli.recipe_check import obstacles_of

    marked = {source.type for section in data_sections(recipe(name)) for source in section.sources if source.translate}
    said = obstacles_of(recipe(name))
    assert bool(said) == bool(marked)
    assert all(kind in line for kind in marked for line in said)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_passes_its_own_check(name: str) -> None:
    from visiglot.cli.recipe_check import problems_of

    assert problems_of(recipe(name)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_evaluated_with_a_prompt_set_that_its_benchmarks_have(name: str) -> None:
    from visiglot.evaluate.benchmark import BENCHMARKS

    section = recipe(name).evaluate
    for benchmark in section.benchmarks:
        assert BENCHMARKS.get(benchmark).choose("prompt set", section.prompts)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_asks_the_built_in_data_for_tasks_and_categories_that_it_has(name: str) -> None:
    from visiglot.data.nano.content import find_task
    from visiglot.data.nano.settings import load_settings
    from visiglot.data.nano.splits import find_split

    categories = set(load_settings().categories.values())
    for section in data_sections(recipe(name)):
        for source in (source for source in section.sources if source.type == "nano"):
            find_task(source.options["task"])
            split = source.options.get("split", "train")
            assert find_split(split).training, f"split {split!r} is for evaluation"
            assert set(source.options.get("categories") or ()) <= categories


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_a_known_connector_with_options_that_it_takes(name: str) -> None:
    from visiglot.models.connectors import CONNECTORS

    section = recipe(name).model.connector
    if section.type == SAME:
        assert section.from_ is not None
        return
    assert refused(CONNECTORS.get(section.type), section.options, "vision_width", "text_width") == []


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_known_objectives_and_parts(name: str) -> None:
    from visiglot.train.objectives import OBJECTIVES

    for stage in recipe(name).stages:
        assert stage.objective in OBJECTIVES
        assert {path.split(".")[0] for path in stage.parts} <= {"vision", "connector", "language_model"}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_model_types_that_transformers_has(name: str) -> None:
    from transformers import CONFIG_MAPPING

    parts: list[PartSource] = [recipe(name).model.vision, recipe(name).model.language_model]
    for part in parts:
        if part.config is not None:
            assert part.config["model_type"] in CONFIG_MAPPING


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_takes_parts_from_recipes_or_the_hub(name: str) -> None:
    from visiglot.models.runs import HUB_ID

    for source in froms(recipe(name)):
        assert source in RECIPES or HUB_ID.match(source)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_names_a_known_template(name: str) -> None:
    from visiglot.render import load_template

    wanted = recipe(name).model.prompt.template
    assert wanted is None or load_template(wanted).name == wanted


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_evaluated_on_known_benchmarks(name: str) -> None:
    from visiglot.evaluate.benchmark import BENCHMARKS

    assert set(recipe(name).evaluate.benchmarks) <= set(BENCHMARKS.names())
