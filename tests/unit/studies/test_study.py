"""Study files -> recipes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.studies.conftest import study_values

from studies.study import LinkSection, Study, build_recipe, cells_of, load_study, study_names
from visiglot.config import Recipe, load_recipe
from visiglot.data.nano.settings import load_settings
from visiglot.errors import ConfigError, UnknownNameError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.languages import language, resolve

QUESTION = {"name": "q", "title": "q", "asks": "q", "arms": ["base"], "columns": ["English"]}


def recipes(study: Study, arm: str) -> list[Recipe]:
    return [build_recipe(link, 1, {}) for link in study.links(arm)]


def examples(study: Study, arm: str) -> int:
    return sum(stage.steps * stage.batch.rows for recipe in recipes(study, arm) for stage in recipe.stages)


# --- the studies that are there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study_names())
def test_every_arm_of_every_study_is_a_valid_recipe_with_its_seed(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    for arm in study.arms:
        assert all(recipe.train.seed == 1 for recipe in recipes(study, arm))
    assert all(benchmark in BENCHMARKS for benchmark in study.evaluation.benchmarks)
    asked = set(resolve(study.evaluation.languages))
    assert all(set(study.codes(group)) <= asked for group in study.groups)


def test_warm_and_scratch_have_the_same_number_of_examples() -> None:
    study = load_study("realign")
    assert examples(study, "warm") == examples(study, "scratch") > examples(study, "scratch-same-steps")
    others = set(study.arms) - {"scratch", "scratch-same-steps", "shipped"}
    assert {examples(study, arm) for arm in others} == {examples(study, "warm")}


def test_both_halves_have_many_scripts_and_are_pictured_and_never_meet() -> None:
    study = load_study("realign")
    (_, warm), (_, half) = recipes(study, "warm"), recipes(study, "half")
    all_, first = (set(resolve(recipe.data.sources[1].languages or ())) for recipe in (warm, half))
    second = all_ - first
    assert len(first) == len(second) == 20
    assert min(len({language(code).script for code in codes}) for codes in (first, second)) >= 10
    assert set(study.codes("first half")) <= first
    assert set(study.codes("second half")) <= second
    unseen = load_settings().text_only_languages
    assert set(study.codes("never pictured")) <= unseen
    assert not all_ & unseen
    text = set(resolve(warm.data.sources[2].languages or ()))
    assert text == all_ | {"eng_Latn"} | set(study.codes("never pictured"))


def test_arms_differ_in_what_is_said_of_them_only() -> None:
    study = load_study("realign")
    base = recipes(study, "warm")[-1].model_dump()
    for arm, keys in {
        "frozen": ["data", "stages"], "half": ["data"], "pictures-30": ["data"], "english-pictures": ["data"],
        "english-only": ["data"], "shipped": ["model"],
    }.items():  # fmt: skip
        other = recipes(study, arm)[-1].model_dump()
        assert [name for name in base if base[name] != other[name]] == keys


# --- resolving -------------------------------------------------------------------------------------------------------


def test_an_arm_that_is_like_another_takes_its_links(toy: Study) -> None:
    (plain,), (changed,) = recipes(toy, "base"), recipes(toy, "other")
    assert plain.model_copy(update={"train": load_recipe("nano").train}) == load_recipe("nano")
    steps = {stage.name: stage.steps for stage in changed.stages}
    assert steps["realign"] == 7
    assert {**steps, "realign": 0} == {**{stage.name: stage.steps for stage in plain.stages}, "realign": 0}


def test_a_stage_is_found_by_its_name_among_those_that_are_run() -> None:
    link = LinkSection(name="one", recipe="nano-english", stages=("generate",), set={"stages.generate.steps": 9})
    recipe = build_recipe(link, 3, {})
    assert [(stage.name, stage.steps) for stage in recipe.stages] == [("generate", 9)]
    assert recipe.train.seed == 3


@pytest.mark.parametrize(("stages", "path"), [(["generat"], "name"), (None, "stages.generat.steps")])
def test_a_stage_that_isnt_there_is_named(stages: Any, path: str) -> None:
    link = LinkSection(name="one", recipe="nano-english", stages=stages, set={path: 9})
    with pytest.raises(ConfigError, match="'generat'"):
        build_recipe(link, 1, {})


def test_an_earlier_link_stands_for_its_run_wherever_it_is_named() -> None:
    link = LinkSection(
        name="two", recipe="nano", set={"model.connector.from": "link:one", "model.vision": {"from": "link:one"}}
    )
    unresolved, resolved = build_recipe(link, 1, {}), build_recipe(link, 1, {"one": "study-x"})
    assert (unresolved.model.connector.from_, unresolved.model.vision.from_) == ("link:one", "link:one")
    assert (resolved.model.connector.from_, resolved.model.vision.from_) == ("study-x", "study-x")


def test_cells_come_seed_by_seed(toy: Study) -> None:
    assert [(cell.arm, cell.seed) for cell in cells_of(toy)][:3] == [("base", 1), ("other", 1), ("base", 2)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"arms": {"a": {"about": "x", "like": "b"}}}, "is like 'b', which isn't there"),
        ({"arms": {"a": {"about": "x", "like": "c"}, "c": {"about": "x", "like": "a"}}}, "in a circle"),
        ({"arms": {"base": {"about": "x"}}}, "needs `links`, or `like`"),
        ({"columns": [{"title": "English", "benchmark": "toy", "languages": "none"}]}, "no group 'none'"),
        ({"columns": [{"title": "English", "benchmark": "coco", "languages": "English"}]}, "'coco' isn't evaluated"),
        ({"questions": [{**QUESTION, "arms": ["third"]}]}, "no arm 'third'"),
        ({"questions": [{**QUESTION, "columns": ["German"]}]}, "no column 'German'"),
        ({"questions": [{**QUESTION, "axis": {"label": "x", "values": [1, 2]}}]}, "one value for each of the 1 arms"),
        ({"sedes": [1]}, "sedes"),
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere_is_said(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Study.model_validate({**study_values(), **change})


def test_an_unknown_study_is_named_with_those_that_are_there() -> None:
    with pytest.raises(UnknownNameError, match="realign"):
        load_study("realing")
