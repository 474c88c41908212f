"""What lies beside the code as weights: whole, small enough, and with everyone named whose work is in it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NANO = ROOT / "src" / "visiglot" / "nano"
DATA = ROOT / "src" / "visiglot" / "data" / "nano"
MODELS = {"english": "nano-english", "lm": "nano-lm", "model": "nano"}
LARGEST = 32_000_000
"""Bytes."""

shipped = pytest.mark.skipif(not (NANO / "SHA256SUMS").is_file(), reason="no weights in the package yet")


def tables(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))


def packages(*, pictures: bool) -> list[dict[str, str]]:
    """Rows of packages.toml that weights are trained on; the test style's pictures aren't among them."""
    settings = tables("nano.toml")
    drawn = {style["package"]: name for name, style in settings["styles"].items()}
    test = settings["splits"]["test_style"]
    rows: list[dict[str, str]] = tables("packages.toml")["package"]
    return [
        row for row in rows if (drawn.get(row["name"]) not in (None, test) if pictures else row["name"] not in drawn)
    ]


def card(folder: str) -> tuple[dict[str, Any], str]:
    """A card's front matter and its text."""
    _, front, text = (NANO / folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_licence_of_the_weights_is_what_packages_and_recipes_say() -> None:
    from tools.nano_cards import licence_text

    text = (NANO / "LICENSE-WEIGHTS.md").read_text(encoding="utf-8")
    assert text == licence_text(), "write it anew: python -m tools.ship_nano --licence"
    for package in packages(pictures=True) + packages(pictures=False):
        assert package["attribution"] in text
    assert "CC-BY-SA-4.0" in text


def test_weights_are_no_text_to_git() -> None:
    assert "*.safetensors binary" in (ROOT / ".gitattributes").read_text(encoding="utf-8")


@shipped
def test_every_file_has_its_sum_and_every_sum_its_file() -> None:
    lines = (NANO / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = [path for name in MODELS for path in (NANO / name).rglob("*") if path.is_file()]
    assert sums == {
        path.relative_to(NANO).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, NANO / "LICENSE-WEIGHTS.md"]
    }


@shipped
def test_all_of_it_is_small() -> None:
    assert sum(path.stat().st_size for name in MODELS for path in (NANO / name).rglob("*") if path.is_file()) <= LARGEST


@shipped
@pytest.mark.parametrize("folder", MODELS)
def test_there_is_what_inference_and_recipes_need_and_no_trainer(folder: str) -> None:
    names = {path.name for path in (NANO / folder).iterdir()}
    assert {"README.md", "recipe.yaml", "config.json", "model.safetensors", "tokenizer.json"} <= names
    assert all(path.suffix in (".json", ".md", ".yaml", ".safetensors") for path in (NANO / folder).iterdir())


@shipped
def test_towers_lie_there_once() -> None:
    parts = json.loads((NANO / "model" / "parts.json").read_text(encoding="utf-8"))
    assert {name: part["folder"] for name, part in parts.items()} == {"vision": "../english", "language_model": "../lm"}
    sizes = {name: (NANO / name / "model.safetensors").stat().st_size for name in MODELS}
    assert sizes["model"] < sizes["english"] + sizes["lm"]


@shipped
@pytest.mark.parametrize(("folder", "name"), MODELS.items())
def test_a_card_names_its_licence_and_that_of_all_its_data_with_hashes(folder: str, name: str) -> None:
    front, text = card(folder)
    recipe = yaml.safe_load((NANO / folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["name"] == name
    assert recipe["licence"] == ("Unicode-3.0" if folder == "lm" else "CC-BY-SA-4.0")
    assert front["license"] == ("other" if folder == "lm" else "cc-by-sa-4.0")
    assert front["language"]
    for package in packages(pictures=False) + (packages(pictures=True) if folder != "lm" else []):
        assert f"| {package['version']} | {package['licence']} | `{package['sha256']}` |" in text
        assert package["attribution"] in text


@shipped
def test_the_models_know_the_languages_that_they_are_for() -> None:
    languages = {name: json.loads((NANO / name / "config.json").read_text())["languages"] for name in MODELS}
    assert len(languages["lm"]) >= 80
    assert len(languages["model"]) >= 40
    assert languages["english"] == ["eng_Latn"]


@shipped
def test_the_model_of_the_card_is_evaluated() -> None:
    _, text = card("model")
    assert "Not evaluated" not in text
