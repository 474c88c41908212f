"""Gradient checkpointing by part: the same step to the bit, with less kept for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.one_step import one_step
from tests.tiny import LLM, build_tiny, tiny_section
from torch import nn

from visiglot.config import Recipe, TrainSection
from visiglot.errors import ConfigError
from visiglot.models.parts import apply_parts
from visiglot.train.memory import Pass, stage_memory
from visiglot.train.recompute import RoundedAgain, recompute
from visiglot.train.sharding import layers_of
from visiglot.train.stages import set_modes

PARTS = ("vision", "connector", "language_model")
EVERYTHING = {name: {"train": "full"} for name in PARTS}


def recipe(parts: dict[str, Any], connector: str = "qformer", llm: str = "t5", **train: Any) -> Recipe:
    made = drawn_recipe({"parts": parts}, **{"precision": "bf16", **train})
    section = tiny_section(llm=llm, connector=connector).model_dump(mode="json", by_alias=True, exclude_none=True)
    if connector == "qformer":
        section["connector"]["options"]["dropout"] = 0.1
    values = made.model_dump(mode="json", by_alias=True, exclude_none=True) | {"model": section}
    return Recipe.model_validate(values)


def kept(made: Recipe, **parts: str) -> tuple[Any, int]:
    """A step, and the bytes that were kept for its backward pass beside weights, each storage once."""
    storages: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made_step = one_step(made, **parts)
    weights = {one.untyped_storage().data_ptr() for one in made_step.model.parameters()}
    return made_step, sum(one.untyped_storage().nbytes() for key, one in storages.items() if key not in weights)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("part", [*PARTS, "weights"])
def test_a_part_s_layers_computed_again_give_the_same_step_and_keep_less(part: str, precision: str) -> None:
    (plain, before), (again, after) = (
        kept(recipe(EVERYTHING, precision=precision, gradient_checkpointing=parts)) for parts in ([], [part])
    )
    assert torch.equal(plain.losses, again.losses)
    assert plain.gradients.keys() == again.gradients.keys()
    for name, gradient in plain.gradients.items():
        assert torch.equal(again.gradients[name], gradient), name
    assert after < before or (part == "weights" and precision == "fp32")


@pytest.mark.parametrize("llm", sorted(LLM))
def test_a_frozen_language_model_s_layers_are_computed_again_too(llm: str) -> None:
    """A connector's stage, in which dropout is off there and a gradient passes all the same."""
    plain, again = (
        recipe({"connector": {"train": "full"}}, llm=llm, gradient_checkpointing=one) for one in (False, True)
    )
    (one, before), (other, after) = (kept(made, llm=llm) for made in (plain, again))
    assert torch.equal(one.losses, other.losses)
    for name, gradient in one.gradients.items():
        assert torch.equal(other.gradients[name], gradient), name
    assert after < before
    layers = list(layers_of(other.model.language_model))
    assert layers
    apply_parts(other.model, recipe(EVERYTHING, llm=llm).stages[0])
    set_modes(other.model)
    recompute(again, other.model)  # a later stage trains it: transformers does it then
    assert not any("forward" in vars(layer) for layer in layers)


def test_weights_that_train_are_rounded_again_and_others_are_as_they_were() -> None:
    made = recipe({"connector": {"train": "full"}}, gradient_checkpointing=["weights"])
    model = one_step(made).model
    kinds = {name: type(module) for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert {kind for name, kind in kinds.items() if name.startswith("connector.")} == {RoundedAgain}
    assert {kind for name, kind in kinds.items() if not name.startswith("connector.")} == {nn.Linear}
    apply_parts(model, recipe({"connector.projection": {"train": "full"}}).stages[0])
    recompute(made, model)
    assert type(model.connector.projection) is RoundedAgain
    assert type(model.connector.qformer.encoder.layer[0].output_query.dense) is nn.Linear


def test_no_copy_of_a_weight_that_trains_is_kept_in_bf16() -> None:
    _, before = kept(recipe(EVERYTHING))
    again, after = kept(recipe(EVERYTHING, gradient_checkpointing=["weights"]))
    weights = {module.weight for module in again.model.modules() if isinstance(module, RoundedAgain)}
    assert before - after >= 0.9 * 2 * sum(weight.numel() for weight in weights)


def test_weights_of_pieces_are_refused() -> None:
    with pytest.raises(ValueError, match="gradient_checkpointing has weights, but sharding fsdp2"):
        TrainSection(gradient_checkpointing=("weights",), sharding="fsdp2")


def test_true_is_the_language_model() -> None:
    assert TrainSection(gradient_checkpointing=True).checkpointed == ("language_model",)
    assert TrainSection(gradient_checkpointing=False).checkpointed == ()
    assert TrainSection(gradient_checkpointing=("connector", "vision")).checkpointed == ("connector", "vision")
    with pytest.raises(ValueError, match="gradient_checkpointing"):
        TrainSection(gradient_checkpointing=("qformer",))


def test_a_connector_without_layers_is_refused() -> None:
    made = recipe({"connector": {"train": "full"}}, connector="mlp", gradient_checkpointing=["connector"])
    with pytest.raises(ConfigError, match=r"connector \(MLPConnector\) has no layers to compute again"):
        one_step(made, connector="mlp")


@pytest.mark.parametrize("part", PARTS)
def test_the_estimate_shrinks_with_each_part(part: str) -> None:
    plain, saving = (recipe(EVERYTHING, gradient_checkpointing=parts) for parts in ([], [part]))
    model = build_tiny().model
    apply_parts(model, plain.stages[0])
    before, after = (
        stage_memory(one, one.stages[0], model, Pass(2, 20, 20, 16, 4, 2)).activations for one in (plain, saving)
    )
    assert after < before
