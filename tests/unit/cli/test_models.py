"""What a model's folder says of the languages it was trained in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.drawn import drawn_recipe
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import toy_benchmark

from visiglot.cli.models import trained_languages
from visiglot.config import Recipe, dump_recipe
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.evaluate.provenance import read_run

DATA: dict[str, Any] = {
    "languages": ["eng_Latn", "deu_Latn", "arb_Arab"],
    "sources": [
        {"type": "drawn", "languages": ["deu_Latn"]},
        {"type": "drawn", "languages": ["arb_Arab"], "options": {"pictures": False, "text": True}},
    ],
}


def checkpoint(folder: Path, recipe: Recipe | None, *languages: str) -> str:
    """A folder that looks like a checkpoint; the name to call it by."""
    (folder / "model").mkdir(parents=True)
    config = {"model_type": "visiglot", "languages": languages}
    (folder / "model" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if recipe is not None:
        (folder / "trainer").mkdir()
        (folder / "trainer" / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    return str(folder)


def test_the_recipe_beside_the_weights_says_what_was_pictured(tmp_path: Path) -> None:
    found = trained_languages(
        checkpoint(tmp_path / "m", drawn_recipe({"steps": 2, "data": DATA}), "deu_Latn", "arb_Arab")
    )
    assert found.known == ("deu_Latn", "arb_Arab")
    assert found.pictured == ("deu_Latn",)


def test_a_part_brings_the_languages_of_its_own_training(tmp_path: Path) -> None:
    english = {"languages": ["eng_Latn"], "sources": [{"type": "drawn"}]}
    earlier = checkpoint(tmp_path / "english", drawn_recipe({"steps": 2, "data": english}), "eng_Latn")
    recipe = drawn_recipe({"steps": 2, "data": DATA})
    connector = recipe.model.connector.model_copy(update={"from_": earlier})
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"connector": connector})})
    assert trained_languages(checkpoint(tmp_path / "m", recipe, "deu_Latn")).pictured == ("deu_Latn", "eng_Latn")


def test_a_model_without_a_recipe_does_not_know(tmp_path: Path) -> None:
    found = trained_languages(checkpoint(tmp_path / "m", None, "deu_Latn"))
    assert (found.known, found.pictured) == (("deu_Latn",), None)


def test_data_that_are_gone_are_said_and_nothing_is_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = {"type": "nano", "options": {"task": "caption", "folder": str(tmp_path / "gone")}}
    data = {"languages": ["deu_Latn"], "sources": [source]}
    found = trained_languages(checkpoint(tmp_path / "m", drawn_recipe({"steps": 2, "data": data}), "deu_Latn"))
    assert found.pictured is None
    assert "isn't known: the built-in data set isn't in" in capsys.readouterr().err


def test_an_evaluation_groups_its_languages_by_the_models_own_training(
    run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BENCHMARKS.names()
    monkeypatch.setitem(BENCHMARKS._things, "toy", toy_benchmark())
    recipe = drawn_recipe({"steps": 2, "data": DATA})
    (tmp_path / "m" / "trainer").mkdir(parents=True)
    (tmp_path / "m" / "model").symlink_to(tiny_model)
    (tmp_path / "m" / "trainer" / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    result = run(
        "evaluate", tmp_path / "m", "-b", "toy", "-l", "en,de,ar", "--device", "cpu", "--out", tmp_path / "scores"
    )
    assert result.exit_code == 0
    found = read_run(tmp_path / "scores")
    assert found is not None
    groups = found.benchmarks["toy.english"].language_groups
    assert groups["trained with pictures"] == ("deu_Latn",)
    assert "arb_Arab" in groups["never pictured"]
    assert "trained with pictures (1)" in result.stdout
