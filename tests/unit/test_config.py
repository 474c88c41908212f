from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from visiglot.config import cache_dir, dump_recipe, load_recipe, parse_recipe
from visiglot.errors import ConfigError, UnknownNameError


def values() -> dict[str, Any]:
    """The shortest recipe there is."""
    return {
        "name": "tiny",
        "model": {"vision": {"config": {"model_type": "vit"}}, "language_model": {"from": "some/model"}},
        "data": {"languages": "de,sw", "sources": [{"type": "nano", "options": {"task": "caption"}}]},
        "stages": [
            {"name": "first", "parts": {"connector": {"train": "full"}}, "steps": 2},
            {"name": "second", "parts": {"connector.projection": {"train": "full", "lr": 0.001}}, "steps": 3},
        ],
    }


def write(folder: Path, recipe: dict[str, Any]) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return str(path)


def problems(recipe: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_recipe(recipe, where="recipe tiny")
    return caught.value.problems


def test_a_dumped_recipe_loads_as_the_same_recipe(tmp_path: Path) -> None:
    recipe = parse_recipe(values(), where="tiny")
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_all_problems_are_reported_at_once() -> None:
    recipe = values()
    recipe["stages"][0]["steps"] = "many"
    recipe["trian"] = {}
    recipe["data"]["languages"] = "germn"
    found = "\n".join(problems(recipe))
    assert "stages.0.steps: input should be a valid integer" in found
    assert "trian: no such key; did you mean 'train'" in found
    assert "data.languages: no such language or set: 'germn'. " in found, "a sentence ends before the next"
    assert len(problems(recipe)) == 3


@pytest.mark.parametrize(
    ("place", "misspelt", "meant"),
    [
        ((), "modle", "model"),
        (("model",), "visoin", "vision"),
        (("model", "language_model"), "tokeniser", "tokenizer"),
        (("data", "sources", 0), "wieght", "weight"),
        (("stages", 1), "warmup_step", "warmup_steps"),
        (("stages", 1, "parts", "connector.projection"), "trian", "train"),
    ],
)
def test_a_misspelt_key_gets_the_nearest_valid_one_at_any_depth(
    place: tuple[str | int, ...], misspelt: str, meant: str
) -> None:
    recipe = values()
    here: Any = recipe
    for key in place:
        here = here[key]
    here[misspelt] = 1
    (problem,) = problems(recipe)
    assert problem.startswith(".".join(map(str, (*place, misspelt))))
    assert f"did you mean {meant!r}" in problem


def test_a_problem_in_a_stage_is_not_also_an_empty_list_of_stages() -> None:
    recipe = values()
    recipe["stages"] = recipe["stages"][:1]
    recipe["stages"][0]["steps"] = 0
    assert len(problems(recipe)) == 1


def test_no_stages_is_a_problem() -> None:
    assert any(problem.startswith("stages:") for problem in problems({**values(), "stages": []}))


def test_a_part_needs_exactly_one_source() -> None:
    recipe = values()
    recipe["model"]["vision"] = {}
    assert "needs `from`" in problems(recipe)[0]
    recipe["model"]["vision"] = {"from": "a", "config": {}}
    assert "has both" in problems(recipe)[0]


def test_a_stage_that_trains_nothing_is_refused() -> None:
    recipe = values()
    recipe["stages"][0]["parts"] = {"vision": {"train": "frozen"}}
    assert "nothing is trained" in problems(recipe)[0]


def test_two_stages_of_one_name_are_refused() -> None:
    recipe = values()
    recipe["stages"][1]["name"] = "first"
    assert "names must differ" in problems(recipe)[0]


def test_rows_must_be_a_multiple_of_accumulate() -> None:
    recipe = values()
    recipe["stages"][0]["batch"] = {"rows": 6, "accumulate": 4}
    assert "rows (6) must be a multiple of accumulate (4)" in problems(recipe)[0]


@pytest.mark.parametrize("written", ["2e-4", "2E-4", "2.0e-4", "0.0002"])
def test_an_override_reads_every_spelling_of_a_number(tmp_path: Path, written: str) -> None:
    recipe = load_recipe(write(tmp_path, values()), [f"stages.1.lr={written}"])
    assert recipe.stages[1].lr == pytest.approx(2e-4)
    assert recipe.stages[0].lr == pytest.approx(1e-4)


def test_a_recipe_file_reads_numbers_as_yaml_1_2_does(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values()).replace("lr: 0.001", "lr: 1e-3"), encoding="utf-8")
    assert load_recipe(str(path)).stages[1].parts["connector.projection"].lr == pytest.approx(1e-3)


def test_no_is_a_language_and_not_false(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, values()), ["data.languages=[no]"])
    assert recipe.data.languages == ("no",)


def test_an_override_makes_sections_that_the_file_leaves_out(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, values()), ["train.seed=7"]).train.seed == 7


def test_an_override_reaches_a_part_whose_path_has_dots(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, values()), ["stages.1.parts.connector.projection.lr=5e-5"])
    assert recipe.stages[1].parts["connector.projection"].lr == pytest.approx(5e-5)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages", "has no `path=value`"),
        ("=1", "has no `path=value`"),
        ("stages.7.lr=1", "'7' is no index of a list of 2: 0 or 1"),
        ("stages.first.lr=1", "'first' is no index"),
        ("name.x=1", "name is a str"),
        ("stages.1.lr=[1", "its value is not YAML"),
        ("stages.².lr=1", "'²' is no index"),
    ],
)
def test_a_bad_override_says_which_and_why(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, values()), [override])
    (problem,) = caught.value.problems
    assert repr(override) in problem
    assert said in problem


def test_an_unknown_recipe_is_told_apart_from_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no such recipe: 'no-such-recipe'"):
        load_recipe("no-such-recipe")
    with pytest.raises(ConfigError, match="can't be read"):
        load_recipe(str(tmp_path / "missing.yaml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", r"is not YAML(?s:.)*in \"\S+recipe.yaml\", line 1"), ("- 1", "must be a mapping, found list")],
)
def test_a_file_that_is_no_recipe_says_so(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_recipe(str(path))


def test_a_binary_file_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        load_recipe(str(path))


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("VISIGLOT_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "visiglot"


def test_an_augmentation_that_no_view_would_have_is_refused() -> None:
    recipe = values()
    recipe["stages"][0]["augmentation"] = {"bend": 0.1}
    assert "draws no views" in problems(recipe)[0]
    recipe["stages"][0]["augment"] = True
    assert parse_recipe(recipe, where="test").stages[0].augmentation.bend == 0.1


def test_a_range_of_scales_goes_upwards_from_above_nothing() -> None:
    recipe = values()
    for wrong in ([1.1, 0.7], [0, 1]):
        recipe["stages"][0] |= {"augment": True, "augmentation": {"scale": wrong}}
        assert "no smaller" in problems(recipe)[0]


@pytest.mark.parametrize("name", ["fp16", "float16", "half"])
def test_fp16_is_refused_by_the_recipe_and_bf16_named(name: str) -> None:
    recipe = values() | {"train": {"precision": name}}
    (found,) = problems(recipe)
    assert found.startswith(f"train.precision: {name} is not offered: activations of T5's family")
    assert "use bf16" in found


def test_a_model_s_from_stands_for_that_of_each_part_that_has_none() -> None:
    recipe = values()
    recipe["model"] = {"from": "some/model", "language_model": {"merge": True}}
    model = parse_recipe(recipe, where="tiny").model
    assert (model.vision.from_, model.connector.from_, model.language_model.from_) == ("some/model",) * 3
    assert (model.connector.type, model.language_model.merge) == ("same", True)

    recipe["model"] |= {"connector": {"type": "mlp"}, "vision": {"config": {"model_type": "vit"}}}
    model = parse_recipe(recipe, where="tiny").model
    assert (model.vision.from_, model.connector.type, model.connector.from_) == (None, "mlp", "some/model")


def test_a_connector_like_that_of_nothing_is_refused() -> None:
    recipe = values()
    recipe["model"]["connector"] = {"type": "same"}
    assert problems(recipe) == ["model.connector: type `same` needs `from`, whose options and `words` it has"]
