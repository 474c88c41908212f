"""Centurio from end to end at tiny size, through the stages of its recipe: tiles, one LoRA, text in pictures."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
import yaml
from PIL import Image
from tests.tiny import LLM, VISION, build_tiny
from tests.unit.data.nano.conftest import tiny_data
from torch import Tensor
from typer.testing import CliRunner

from visiglot.cli import app
from visiglot.config import load_recipe
from visiglot.models.build import build_model
from visiglot.models.load import load_model
from visiglot.models.parts import adapter_names, apply_parts

pytestmark = pytest.mark.slow

LANGUAGES = ["eng_Latn", "deu_Latn"]
STEPS = 4


def visiglot(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def write_instructions(folder: Path) -> list[dict[str, Any]]:
    """Task files in Centurio's format: a picture first, two anywhere in the text, none at all, two turns."""
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (80 * number, 200 - 60 * number, 90)).save(folder / f"{number}.png")
    rows = [
        {"context": ["What is it?"], "label": ["a dog"], "image_id": "0.png"},
        {
            "context": ["Is <image_placeholder> as <image_placeholder>?", "And now?"],
            "label": ["no", "yes"],
            "image_id": ["1.png", "2.png"],
        },
        {"context": ["A tree <image_placeholder> or not?"], "label": ["a tree"], "image_id": "1.png"},
        {"context": ["Name a fish."], "label": ["a fish"], "image_id": ""},
    ]
    path = folder / "instruct.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    options = {"path": str(path), "images": str(folder), "name": "instruct"}
    other = {**options, "language": "deu_Latn", "name": "anweisung"}
    return [
        {"type": "centurio", "options": options, "languages": "eng_Latn"},
        {"type": "centurio", "options": other, "languages": "deu_Latn"},
    ]


def recipe(tmp_path: Path, data: Path) -> Path:
    """The built-in recipe with tiny parts, little data and few steps; stages, parts and options are its own."""
    tokenizer = tmp_path / "tokenizer"
    built = build_tiny()
    built.model.save_pretrained(tokenizer)
    built.processor.save_pretrained(tokenizer)
    fonts = tmp_path / "fonts"
    fonts.mkdir()
    shutil.copy(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", fonts)
    lettered = {"folder": str(data), "fonts": str(fonts), "pictures": 8, "size": 192}
    values = load_recipe("centurio-qwen-7b").model_dump(mode="json", by_alias=True, exclude_unset=True)
    instructions = write_instructions(tmp_path / "data")
    values["model"]["vision"] = {"config": VISION["siglip"], "image_size": 32, "layer": -2, "tiles": 2}
    values["model"]["language_model"] = {
        "config": LLM["qwen2"] | {"max_position_embeddings": 512},
        "tokenizer": str(tokenizer),
    }
    values["model"]["prompt"]["max_length"] = 400
    values["data"] |= {"sources": instructions, "languages": LANGUAGES}
    values["train"] = {"precision": "fp32", "log_every": 1, "save_every": STEPS, "keep": 5}
    for stage in values["stages"]:
        stage |= {"steps": STEPS, "warmup_steps": 1, "lr": 1e-2, "batch": {"rows": 8, "accumulate": 2}}
        stage["lora"] = {**stage["lora"], "rank": 4, "alpha": 8}
        stage["parts"]["vision"]["lr"] = 1e-3
        if "data" in stage:
            stage["data"] |= {"sources": [{"type": "lettered", "options": lettered}], "languages": LANGUAGES}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_one_lora_goes_through_both_stages_and_the_language_model_below_it_never_moves(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    with tiny_data(tmp_path_factory) as data:
        path, run = recipe(tmp_path, data), tmp_path / "run"
        said = visiglot("recipes", "check", path)
        assert "vision full, connector full, language_model lora" in said
        assert "not llava: it sees pictures in tiles" in said
        visiglot("train", path, "--out", run, "--device", "cpu")
        loaded = load_recipe(str(path))
        begun = build_model(loaded.model, languages=LANGUAGES, seed=loaded.train.seed).model
        with torch.random.fork_rng():
            torch.manual_seed(loaded.train.seed)
            apply_parts(begun, loaded.stages[0])
        start = begun.state_dict()
        first, _ = load_model(str(run / f"checkpoints/pretrain-{STEPS}/model"), device="cpu")
        model, processor = load_model(str(run), device="cpu")

        adapters = adapter_names(model)
        frozen = {name for name in start if name.startswith("language_model.")} - adapters
        assert adapters
        assert frozen
        states = start, first.state_dict(), model.state_dict()
        for before, after in pairwise(states):
            trained = moved(before, after)
            assert not trained & frozen, "the language model itself is bit for bit the same"
            assert trained >= adapters
            assert {name for name in before if name.startswith("connector.")} <= trained
            assert any(name.startswith("vision.") for name in trained)
        # trained on, not begun anew: a new LoRA's second matrix would be zero, its first another draw
        seconds = [name for name in adapters if "lora_B" in name]
        assert all(bool(states[1][name].any()) for name in seconds)
        for name in adapters:
            far = (states[2][name] - states[1][name]).norm()
            assert far < (states[1][name] - (0 if "lora_B" in name else states[0][name])).norm() * 10
            cosine = torch.cosine_similarity(states[1][name].flatten(), states[2][name].flatten(), dim=0)
            assert cosine > 0.5, name

        assert model.config.vision_tiles == 2
        assert model.config.tokens_per_image == 16
        assert processor.pixel_values([Image.new("RGB", (30, 40))]).shape == (1, 3, 64, 64)
        visiglot("caption", tmp_path / "data" / "0.png", "--model", run, "--languages", "en,de", "--device", "cpu")
