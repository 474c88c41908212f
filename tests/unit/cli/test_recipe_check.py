"""`recipes check` and `train --dry-run` on parts of models of other formats, in folders, files and the hub's cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.checkpoints import legacy_mblip, stock_blip2, stock_llava
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny
from tests.unit.cli.conftest import Run

from visiglot.cli.recipe_check import whole_config
from visiglot.config import dump_recipe, load_recipe

QFORMER = {"num_queries": 5, "width": 24, "layers": 4, "heads": 3, "intermediate": 44}
CONNECTORS: dict[str, dict[str, Any]] = {
    "blip2": {"type": "qformer", "options": QFORMER},
    "mblip": {"type": "qformer", "options": QFORMER},
    "llava": {"type": "mlp", "options": {"depth": 2}},
}
FITS = {"blip2": "blip2, visiglot", "mblip": "blip2, visiglot", "llava": "llava, visiglot"}
ENCODER = {
    "model_type": "blip_2_vision_model",
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, write in (("blip2", stock_blip2), ("mblip", legacy_mblip), ("llava", stock_llava)):
        found[name] = tmp_path_factory.mktemp(name)
        write(found[name])
    return found


@pytest.fixture
def hub(tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Hub ids whose configs, and nothing else of them, were fetched before."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, folder in folders.items():
        repository = tmp_path / "hub" / f"models--somebody--{name}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40, encoding="utf-8")
        (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
        shutil.copy(folder / "config.json", repository / "snapshots" / ("0" * 40))
    return {name: f"somebody/{name}" for name in folders}


def recipe_on(source: object, name: str, path: Path, **parts: dict[str, Any]) -> Path:
    """A recipe whose parts all come from `source`, a model like `name`, but for what `parts` says of them."""
    raw = yaml.safe_load(dump_recipe(drawn_recipe({"steps": 2})))
    start = {"from": str(source)}
    layer = {"layer": -2} if name == "llava" else {}
    raw["model"] = {"vision": {**start, **layer}, "connector": {**start, **CONNECTORS[name]}, "language_model": start}
    raw["model"]["prompt"] = {"max_length": 200}
    for part, values in parts.items():
        raw["model"][part] |= values
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", CONNECTORS)
def test_parts_of_another_format_are_checked_and_rehearsed_as_they_train(
    run: Run, folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    path = recipe_on(folders[name], name, tmp_path / "recipe.yaml")
    checked = run("recipes", "check", path)
    assert checked.exit_code == 0
    assert f"  export: {FITS[name]}\n" in checked.stdout
    rehearsed = run("train", path, "--dry-run", "--device", "cpu")
    assert rehearsed.exit_code == 0
    assert f"connector: {CONNECTORS[name]['type']} from {folders[name]}" in rehearsed.stderr


@pytest.mark.parametrize("name", CONNECTORS)
def test_what_the_hub_s_cache_says_of_a_part_is_taken(run: Run, hub: dict[str, str], tmp_path: Path, name: str) -> None:
    path = recipe_on(hub[name], name, tmp_path / "recipe.yaml")
    checked = run("recipes", "check", path)
    assert checked.exit_code == 0
    assert f"  export: {FITS[name]}\n" in checked.stdout
    rehearsed = run("train", path, "--dry-run")
    assert f"fetched from the hub: {hub[name]}" in rehearsed.stdout


@pytest.mark.parametrize("where", ["folder", "hub"])
@pytest.mark.parametrize(
    ("connector", "said"),
    [
        ({"options": QFORMER | {"num_queries": 6}}, "options.num_queries: is 6, but 5 in "),
        ({"options": QFORMER | {"layers": 2, "heads": 4}}, "options.layers: is 2, but 4 in "),
        ({"type": "mlp", "options": {}}, "type: is mlp, but qformer in "),
    ],
)
def test_a_connector_that_its_source_does_not_fit_is_a_problem(
    run: Run,
    folders: dict[str, Path],
    hub: dict[str, str],
    tmp_path: Path,
    where: str,
    connector: dict[str, Any],
    said: str,
) -> None:
    source = folders["mblip"] if where == "folder" else hub["mblip"]
    result = run("recipes", "check", recipe_on(source, "mblip", tmp_path / "recipe.yaml", connector=connector))
    assert result.exit_code == 2
    assert f"model.connector: {said}{source}" in result.stderr


def test_a_connector_may_lose_what_is_to_be_fresh_or_depends_on_the_language_model(
    run: Run, folders: dict[str, Path], tmp_path: Path
) -> None:
    language_model = {"from": str(folders["llava"])}
    path = recipe_on(folders["blip2"], "blip2", tmp_path / "recipe.yaml", language_model=language_model)
    assert run("recipes", "check", path).exit_code == 0
    connector = {"options": QFORMER | {"num_queries": 6}, "fresh": ["queries"]}
    path = recipe_on(folders["blip2"], "blip2", tmp_path / "recipe.yaml", connector=connector)
    assert run("recipes", "check", path).exit_code == 0


def test_parts_in_files_are_checked_by_the_config_beside_them(
    run: Run, folders: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("connector.ckpt", "vision.bin", "adapter.bin"):
        torch.save({}, tmp_path / name)
    parts = {
        "vision": {"from": str(tmp_path / "vision.bin"), "config": ENCODER},
        "connector": {"from": str(tmp_path / "connector.ckpt")},
        "language_model": {"adapter": str(tmp_path / "adapter.bin")},
    }
    path = recipe_on(folders["blip2"], "blip2", tmp_path / "recipe.yaml", **parts)
    result = run("recipes", "check", path)
    assert result.exit_code == 0
    assert "  export: blip2, visiglot\n" in result.stdout


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("vision", {"from": "v.bin"}, "model.vision: config.model_type: is missing"),
        ("vision", {"from": "parts.yaml"}, "model.vision: parts.yaml is a file that no part comes from"),
        ("connector", {"from": "gone.ckpt"}, "model.connector.from: no model 'gone.ckpt'"),
        ("language_model", {"from": "v.bin"}, "from: is a file of weights; name the language model"),
        ("language_model", {"adapter": "gone.bin"}, "model.language_model.adapter: no model 'gone.bin'"),
    ],
)
def test_a_file_that_is_no_such_part_is_a_problem(
    run: Run,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    values: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({}, tmp_path / "v.bin")
    (tmp_path / "parts.yaml").write_text("{}", encoding="utf-8")
    result = run("recipes", "check", recipe_on(folders["blip2"], "blip2", tmp_path / "recipe.yaml", **{part: values}))
    assert result.exit_code == 2
    assert said in result.stderr


# --- data ------------------------------------------------------------------------------------------------------------


def test_sources_that_are_to_be_translated_first_are_named_and_are_no_problem(run: Run, tmp_path: Path) -> None:
    options = {"path": "nowhere.json", "images": "nowhere"}
    source = {"type": "capfilt", "options": options, "task": "caption", "translate": True}
    english = source | {"task": "matching", "languages": "en"}
    path = tmp_path / "recipe.yaml"

    def printed(*sources: dict[str, Any], **values: Any) -> str:
        data = {"languages": ["en", "de"], "sources": list(sources), **values}
        path.write_text(dump_recipe(drawn_recipe({"steps": 2, "data": data}, {"steps": 2})), encoding="utf-8")
        result = run("recipes", "check", path)
        assert result.exit_code == 0
        return result.stdout

    said = printed(source, source | {"task": None}, english)
    assert "  can't be trained yet: sources capfilt/caption, capfilt are to be translated first\n" in said
    assert ": fine\n" in said
    assert "source capfilt/caption is to be translated first" in printed(source)
    assert "can't be trained" not in printed(english)
    free = source | {"type": "coco-karpathy", "options": options | {"licence": "CC0-1.0"}, "translate": False}
    noncommercial = source | {"options": options | {"licence": "CC-BY-NC-4.0"}}
    assert "can't be trained" not in printed(free, noncommercial, licence="commercial")
    assert "can't be trained: nothing is left that may be used" in printed(noncommercial, licence="commercial")


def test_a_model_that_is_trained_on_keeps_its_template_in_what_is_checked(tmp_path: Path) -> None:
    built = build_tiny("clip", "llama", "mlp", template="vicuna")
    built.model.save_pretrained(tmp_path)
    built.processor.save_pretrained(tmp_path)
    going_on = load_recipe("finetune", [f"model.from={tmp_path}"])
    named = load_recipe("finetune", [f"model.from={tmp_path}", "model.prompt.template=plain"])
    assert [whole_config(one).template for one in (going_on, named)] == ["vicuna", "plain"]  # type: ignore[union-attr]


def test_prompts_that_a_benchmark_of_the_recipe_hasnt_are_a_problem(run: Run) -> None:
    checked = run("recipes", "check", "finetune", "evaluate.benchmarks=[nano]", "evaluate.prompts=paper")
    assert checked.exit_code == 2
    assert "evaluate.prompts: no such prompt set of nano: 'paper'" in checked.stderr


def test_names_of_tables_are_reported_with_the_keys_and_values_that_are_wrong(run: Run, tmp_path: Path) -> None:
    values = yaml.safe_load(dump_recipe(drawn_recipe({"steps": 2}, {"steps": 2})))
    values["stages"][0]["stepps"] = values["stages"][0].pop("steps")
    values["model"]["connector"]["type"] = "mpl"
    values["data"]["sources"] = [{"type": "parket"}, {"type": "parquet", "task": "captoin"}, "drawn"]
    values["stages"][1]["objective"] = "generat"
    values["evaluate"] = {"benchmarks": ["xm36000", 1]}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    said = run("recipes", "check", path).stderr
    for problem in (
        "stages.0.stepps: no such key",
        "model.connector.type: no such connector: 'mpl'; Did you mean 'mlp'",
        "data.sources.0.type: no such source: 'parket'; Did you mean 'parquet'",
        "data.sources.1.task: no such task: 'captoin'; Did you mean 'caption'",
        "stages.1.objective: no such objective: 'generat'",
        "evaluate.benchmarks.0: no such benchmark: 'xm36000'",
    ):
        assert problem in said
