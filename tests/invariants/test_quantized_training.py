"""Low-rank layers above a language model in 8 or 4 bits (Dettmers et al., 2023, arXiv 2305.14314)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import Recipe
from visiglot.errors import ModelError
from visiglot.models.load import load_model
from visiglot.models.parts import apply_parts
from visiglot.models.quantize import is_quantized, quantize_frozen, unquantize
from visiglot.models.quantize.layers import QuantizedLinear
from visiglot.models.runs import checkpoints
from visiglot.train.loop import fit
from visiglot.train.resume import Run
from visiglot.train.track import Tracker

KINDS = ["int8", "nf4", "llm-int8"]
LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora", "lr": 5e-3}}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def recipe(kind: str | None, *stages: dict[str, Any], llm: str = "llama", **train: Any) -> Recipe:
    made = drawn_recipe(*stages, llm=llm, **train).model_dump(mode="json", by_alias=True, exclude_none=True)
    if kind is not None:
        made["model"]["language_model"]["quantize"] = kind
    return Recipe.model_validate(made)


def train(made: Recipe, out: Path) -> Path:
    return fit(made, out=out, resume=True, device="cpu", report=Tracker())


def logged(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def weights(run: Path, number: int = -1) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(run)[number].model / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_low_rank_layers_learn_and_what_is_beneath_stays_what_was_rounded(kind: str, tmp_path: Path) -> None:
    stages = ({"steps": 2}, {"steps": 12, "parts": LORA, "lr": 3e-3, "lora": {"dropout": 0.0}})
    run = train(recipe(kind, *stages, keep=9, gradient_checkpointing=True), tmp_path / "run")
    losses, whole = map(logged, (run, train(recipe(None, *stages), tmp_path / "whole")))
    assert losses[-1] < losses[2] - 0.05
    assert losses == pytest.approx(whole, abs=0.02)
    first, second = weights(run, 0), weights(run)
    base = {name.replace(".base_layer", ""): tensor for name, tensor in second.items() if "lora_" not in name}
    assert base.keys() == first.keys()
    moved = [name for name, tensor in base.items() if not torch.equal(tensor, first[name])]
    assert moved
    assert all(name.startswith("connector.") for name in moved)
    assert any(tensor.abs().sum() > 0 for name, tensor in second.items() if "lora_B" in name)
    levels = second["language_model.model.layers.0.mlp.down_proj.base_layer.weight"][0].unique()
    assert len(levels) <= (16 if kind == "nf4" else 255)

    model, _ = load_model(str(checkpoints(run)[-1].model), device="cpu")  # what is saved loads as any model does
    assert not is_quantized(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(kind, {"steps": 2}, {"steps": 4, "parts": LORA}, save_every=2)
    straight = train(made, tmp_path / "straight")

    class Killed(BaseException):
        pass

    def dies(self: Run, *_: Any) -> None:
        raise Killed

    save = Run.save
    for at in (1, 2):  # in the first stage's save, and in the second's first
        with monkeypatch.context() as patch:
            left = iter([save] * (at - 1))
            patch.setattr(Run, "save", lambda self, *rest, left=left: next(left, dies)(self, *rest))
            with pytest.raises(Killed):
                train(made, tmp_path / "broken")
    found, expected = weights(train(made, tmp_path / "broken")), weights(straight)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("llm", ["mt5", "bloom", "qwen3"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_passes_a_quantised_layer_as_it_passes_its_weights(kind: str, llm: str) -> None:
    model = build_tiny(llm=llm).model.requires_grad_(False)
    quantize_frozen(model, kind, torch.device("cpu"), torch.float32)
    layer = next(module for module in model.modules() if isinstance(module, QuantizedLinear))
    rows = torch.randn(3, 5, layer.in_features, generator=torch.Generator().manual_seed(1)).requires_grad_()
    upstream = torch.randn(3, 5, layer.out_features, generator=torch.Generator().manual_seed(2))
    layer(rows).backward(upstream)
    torch.testing.assert_close(rows.grad, upstream @ layer.weights(), atol=1e-5, rtol=1e-4)
    empty = layer(torch.zeros(0, layer.in_features, requires_grad=True))
    assert empty.shape == (0, layer.out_features)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_quantised_again_are_the_same_to_the_bit(kind: str, dtype: torch.dtype) -> None:
    model = build_tiny(llm="bloom").model.requires_grad_(False)
    before = {name: tuple(layer.weight.shape) for name, layer in linears(model)}
    quantize_frozen(model, kind, torch.device("cpu"), dtype)
    kept = {name: layer.weights() for name, layer in quantised(model)}
    unquantize(model)
    assert not is_quantized(model)
    assert {name: tuple(layer.weight.shape) for name, layer in linears(model)} == before
    quantize_frozen(model, kind, torch.device("cpu"), dtype)
    again = {name: layer.weights() for name, layer in quantised(model)}
    assert all(torch.equal(again[name], weight) for name, weight in kept.items())
    assert kept


def linears(model: torch.nn.Module) -> list[tuple[str, torch.nn.Linear]]:
    return [(name, one) for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)]


def quantised(model: torch.nn.Module) -> list[tuple[str, QuantizedLinear]]:
    return [(name, one) for name, one in model.named_modules() if isinstance(one, QuantizedLinear)]


def test_in_bf16_what_is_quantised_computes_in_bf16_beside_float32_weights() -> None:
    model = build_tiny(llm="llama").model.requires_grad_(False)
    quantize_frozen(model, "nf4", torch.device("cpu"), torch.bfloat16)
    layer = quantised(model)[0][1]
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.zeros(2, layer.in_features)).dtype == torch.bfloat16
    assert layer(torch.zeros(2, layer.in_features)).dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_in_bf16_low_rank_layers_stay_in_float32_and_what_is_frozen_does_not(kind: str, tmp_path: Path) -> None:
    run = train(recipe(kind, {"steps": 4, "parts": LORA, "lr": 3e-3}, llm="mt5", precision="bf16"), tmp_path)
    found = weights(run)
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    formats = {name: tensor.dtype for name, tensor in found.items() if name.startswith("language_model.")}
    assert {one for name, one in formats.items() if "lora_" in name} == {torch.float32}
    assert formats["language_model.shared.weight"] == torch.bfloat16
    assert any(tensor.abs().sum() > 0 for name, tensor in found.items() if "lora_B" in name)


def test_what_trains_is_not_quantised() -> None:
    model = build_tiny(llm="llama").model
    made = recipe(None, {"parts": {"language_model": {"train": "full"}}})
    apply_parts(model, made.stages[0])
    with pytest.raises(ModelError, match=r"language_model\.\S+ is to be quantised and to be trained"):
        quantize_frozen(model, "int8", torch.device("cpu"), torch.float32)
