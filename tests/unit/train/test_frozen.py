"""Checkpoints that leave out what is frozen: as small as what trains, and the same model when they are read."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import Recipe
from visiglot.errors import CheckpointError
from visiglot.models.load import load_model
from visiglot.models.runs import checkpoints
from visiglot.train.frozen import source_of
from visiglot.train.loop import fit
from visiglot.train.track import Tracker

LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora"}}
STAGE = {"steps": 4, "parts": LORA, "lora": {"rank": 2, "alpha": 4, "dropout": 0.1}}


def towers(folder: Path) -> dict[str, str]:
    """An encoder and a language model as their libraries write them."""
    built = build_tiny()
    built.model.vision.model.save_pretrained(folder / "vit")
    built.model.language_model.save_pretrained(folder / "llm")
    built.processor.tokenizer.save_pretrained(folder / "llm")
    return {"vision": str(folder / "vit"), "language_model": str(folder / "llm")}


def of_ours(folder: Path) -> dict[str, str]:
    """Both as parts of a model of ours."""
    built = build_tiny()
    built.model.save_pretrained(folder / "ours")
    built.processor.save_pretrained(folder / "ours")
    return dict.fromkeys(("vision", "language_model"), str(folder / "ours"))


def on(sources: dict[str, str], stage: dict | None = None, **train: object) -> Recipe:
    values = drawn_recipe(stage or STAGE, save_every=2, **train).model_dump(mode="json", by_alias=True)
    values["model"]["vision"] = {"from": sources["vision"], "image_size": 32}
    values["model"]["language_model"] = {"from": sources["language_model"]}
    return Recipe.model_validate(values)


def state(run: Path) -> dict[str, torch.Tensor]:
    return load_model(str(run), device="cpu")[0].state_dict()


@pytest.mark.parametrize("make", [towers, of_ours])
def test_low_rank_layers_are_saved_alone_and_load_and_resume_as_the_whole_model_does(
    tmp_path: Path, make: object
) -> None:
    sources = make(tmp_path)
    whole = fit(on(sources), out=tmp_path / "whole", device="cpu", report=Tracker())
    recipe = on(sources, save_frozen=False)
    said = io.StringIO()
    small = fit(recipe, out=tmp_path / "small", device="cpu", report=Tracker(Console(file=said, width=300)))
    assert f"checkpoints leave out vision ({sources['vision']}), language_model ({sources['language_model']})" in (
        said.getvalue()
    )
    (checkpoints(small)[-1].folder / "manifest.json").unlink()
    fit(recipe, out=small, resume=True, device="cpu", report=Tracker())

    last = checkpoints(small)[-1]
    held = load_file(last.model / "model.safetensors")
    assert {name.partition(".")[0] for name in held if ".lora_" not in name and "pooler" not in name} == {"connector"}
    assert "model/parts.json" in last.manifest["files"]
    one, other = state(whole), state(small)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_weights_that_have_changed_or_are_gone_are_not_trained_on(tmp_path: Path) -> None:
    sources = towers(tmp_path)
    run = fit(on(sources, save_frozen=False), out=tmp_path / "run", device="cpu", report=Tracker())
    weights = tmp_path / "llm" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"its language_model is that of .*llm, whose weights have changed"):
        load_model(str(run), device="cpu")
    shutil.rmtree(tmp_path / "llm")
    with pytest.raises(CheckpointError, match="llm"):
        load_model(str(run), device="cpu")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"stages.0.parts.language_model": {"train": "full"}}, "language_model"),
        ({"stages.0.parts": {"vision.model": {"train": "full"}}}, "vision"),
        ({"model.language_model": {"from": "x/y", "merge": True}}, "language_model"),
        ({"model.language_model": {"from": "x/y", "quantize": "int8"}}, "language_model"),
    ],
)
def test_what_is_not_throughout_as_it_came_is_kept_in_the_checkpoints(change: dict, part: str) -> None:
    values = on({"vision": "a/b", "language_model": "x/y"}).model_dump(mode="json", by_alias=True)
    assert source_of(Recipe.model_validate(values), part) is not None
    for path, value in change.items():
        *keys, last = path.split(".")
        place = values
        for key in keys:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value
    assert source_of(Recipe.model_validate(values), part) is None


def test_a_run_that_began_with_everything_goes_on_so(tmp_path: Path) -> None:
    sources = towers(tmp_path)
    run = fit(on(sources), out=tmp_path / "run", device="cpu", report=Tracker())
    (checkpoints(run)[-1].folder / "manifest.json").unlink()
    fit(on(sources, save_frozen=False), out=run, resume=True, device="cpu", report=Tracker())
    assert not (checkpoints(run)[-1].model / "parts.json").exists()
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 4
