"""What a forward pass leaves for its backward pass: the estimate of copies of weights against those that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny
from torch import Tensor, nn

from visiglot.config import Recipe
from visiglot.data.ledger import Ledger
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.activations import Pass, rounded_copies
from visiglot.train.precision import build_accelerator, frozen_matrices
from visiglot.train.sharding import layers_of
from visiglot.train.stages import Sources, TrainingStep, prepare_stage

PASS = Pass(rows=2, tokens=20, targets=20, patches=16, image_tokens=4, bytes=2)
CONNECTOR_ALONE = {"connector": {"train": "full"}}
LORA = {"connector": {"train": "full"}, "language_model": {"train": "lora"}}
FIRST = re.compile(r"crossattention.attention.(key|value)|decoder.block.0.layer.(0.SelfAttention|1.EncDecAttention.q)")
"""Layers that read frozen features, or words alone: a gradient ends there, and their weights aren't kept."""
EVERYTHING = {name: {"train": "full"} for name in ("vision", "connector", "language_model")}


def made(parts: dict[str, Any], **train: Any) -> Recipe:
    return drawn_recipe({"parts": parts}, **{"precision": "bf16"} | train)


def kept_copies(recipe: Recipe, llm: str) -> tuple[set[nn.Parameter], VisionLanguageModel]:
    """The linear layers' weights of which a real forward pass keeps one in bf16 beside that in float32."""
    built = build_tiny(llm=llm)
    model = built.model
    accelerator = build_accelerator("bf16", "cpu")
    stage = prepare_stage(recipe, 0, model, built.processor, Sources(), accelerator, Ledger(None, 0.01))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros all alike at first
            parameter.data.normal_(std=0.1)
    head = model.language_model.get_output_embeddings()
    linears = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
    weights = {digest(layer.weight.detach()): layer.weight for layer in linears if layer.weight.dtype == torch.float32}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.dtype == torch.bfloat16:
            kept[storage.data_ptr()] = torch.empty(0, dtype=tensor.dtype).set_(storage)
        return tensor

    batches = list(stage.loader.load(0).batches)
    with accelerator.autocast(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        TrainingStep(model, stage.objective)(batches[0])
    found = {digest(tensor) for tensor in kept.values()}
    return {weight for key, weight in weights.items() if key in found}, model


def digest(tensor: Tensor) -> bytes:
    return tensor.to(torch.bfloat16).flatten().view(torch.int16).numpy().tobytes()


@pytest.mark.parametrize("llm", ["t5", "bloom", "qwen3"])
@pytest.mark.parametrize("parts", [CONNECTOR_ALONE, LORA, EVERYTHING], ids=["connector", "lora", "everything"])
@pytest.mark.parametrize("train", [{}, {"frozen": "bf16"}, {"gradient_checkpointing": ["weights"]}], ids=str)
def test_copies_of_weights_are_those_that_a_forward_pass_keeps(
    llm: str, parts: dict[str, Any], train: dict[str, Any]
) -> None:
    recipe = made(parts, **train)
    found, model = kept_copies(recipe, llm)
    narrow = frozen_matrices(recipe, model) if recipe.train.frozen == "bf16" else set()
    weights = {f"{name}.weight": m.weight for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    counted = {
        name
        for name, weight in weights.items()
        if rounded_copies(recipe, model, PASS, narrow=narrow, cut=False)
        > rounded_copies(recipe, model, PASS, narrow={*narrow, weight}, cut=False)
    }
    assert {name for name, weight in weights.items() if weight in found} <= counted
    assert all(FIRST.search(name) for name in counted if weights[name] not in found)


def test_of_layers_that_are_computed_again_only_the_largest_has_copies() -> None:
    model = build_tiny(llm="qwen3").model
    model.connector.requires_grad_(True)
    plain, again = made(CONNECTOR_ALONE), made(CONNECTOR_ALONE, gradient_checkpointing=True)
    every, largest = (rounded_copies(recipe, model, PASS, narrow=set(), cut=False) for recipe in (plain, again))
    layers = [sum(2 * weight.numel() for weight in matrices(layer)) for layer in layers_of(model.language_model)]
    assert len(layers) > 1
    assert every - largest == sum(layers) - max(layers) > 0
    assert rounded_copies(plain, model, PASS, narrow=set(), cut=True) < every - sum(layers) + 1


def test_in_float32_nothing_is_rounded() -> None:
    model = build_tiny(llm="qwen3").model
    passed = Pass(2, 20, 20, 16, 4, bytes=4)
    assert rounded_copies(made(CONNECTOR_ALONE), model, passed, narrow=set(), cut=False) == 0


def matrices(module: nn.Module) -> Iterator[nn.Parameter]:
    yield from (one.weight for one in module.modules() if isinstance(one, nn.Linear))
