"""What can't be cut up over processes, and passes that teach a process nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny
from torch import nn

from visiglot.config import Recipe
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError, MissingExtraError
from visiglot.models.parts import apply_parts
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.precision import build_accelerator
from visiglot.train.resume import recipe_hash
from visiglot.train.sharding import (
    cuts_up,
    cuts_weights,
    layers_of,
    refuse_uncuttable,
    start_package,
    whole_state,
)
from visiglot.train.stages import Sources, TrainingStep, prepare_stage


def sharded(stage: dict[str, Any], sharding: str = "fsdp2") -> Recipe:
    return drawn_recipe(stage, sharding=sharding)


def refuse(recipe: Recipe) -> None:
    built, section = build_tiny(), recipe.stages[0]
    apply_parts(built.model, section)
    objective = OBJECTIVES.get(section.objective)(built.model, built.processor.spec(), recipe.train, section.options)
    refuse_uncuttable(recipe, section, built.model, objective)


def test_only_several_processes_cut_a_model_up() -> None:
    for sharding, weights in (("fsdp2", True), ("zero2", False), ("zero3", True)):
        recipe = sharded({}, sharding)
        assert (cuts_up(recipe, 2), cuts_weights(recipe, 2)) == (True, weights)
        assert (cuts_up(recipe, 1), cuts_weights(recipe, 1)) == (False, False)
    assert not cuts_up(drawn_recipe({}), 2)


@pytest.mark.parametrize("sharding", ["fsdp2", "zero2", "zero3"])
@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ({"optimiser": "muon"}, "optimiser: muon orthogonalises whole matrices"),
        ({"objective": "contrastive"}, "log_scale is a single number that trains"),
    ],
)
def test_what_needs_whole_tensors_is_refused_by_name(stage: dict[str, Any], problem: str, sharding: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        refuse(sharded(stage, sharding))
    assert "train.sharding=ddp" in str(caught.value.hint)
    refuse(sharded({}, sharding))


def test_a_language_model_in_fewer_bits_is_for_ddp_and_fsdp2() -> None:
    values = sharded({}, "zero2").model_dump(mode="json", by_alias=True, exclude_none=True)
    values["model"]["language_model"]["quantize"] = "int8"
    with pytest.raises(ConfigError, match="quantize: isn't tried with DeepSpeed; use fsdp2 or ddp"):
        refuse(Recipe.model_validate(values))


@pytest.mark.parametrize("sharding", ["fsdp2", "zero2", "zero3"])
def test_a_run_may_go_on_with_another_way_to_share(sharding: str) -> None:
    assert recipe_hash(sharded({}, sharding)) == recipe_hash(drawn_recipe({}))


def test_deepspeed_is_asked_for_where_several_processes_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    two = SimpleNamespace(num_processes=2, device=torch.device("cpu"))
    with pytest.raises(MissingExtraError, match="DeepSpeed isn't installed") as caught:
        start_package(sharded({}, "zero3"), two)  # type: ignore[arg-type]
    assert caught.value.hint == "pip install 'visiglot[deepspeed]'"
    start_package(sharded({}), two)  # type: ignore[arg-type]
    two.num_processes = 1
    start_package(sharded({}, "zero3"), two)  # type: ignore[arg-type]


@pytest.mark.parametrize("llm", ["t5", "bloom", "qwen3"])
def test_the_layers_are_those_of_encoder_and_decoder(llm: str) -> None:
    model = build_tiny(llm=llm).model
    assert len(list(layers_of(model.language_model))) == (4 if llm == "t5" else 2)
    assert len(list(layers_of(model.vision))) == 2


def test_a_state_that_is_whole_already_is_left_to_the_module() -> None:
    assert whole_state(nn.Linear(2, 2), main=True) is None


@pytest.mark.parametrize("checkpointing", [False, True])
def test_text_alone_before_a_frozen_language_model_gives_one_gradient_of_nothing(checkpointing: bool) -> None:
    # with none, DDP waits for ever; with all, what is never used would decay in these passes alone
    built = build_tiny(llm="mt5")
    recipe = drawn_recipe({}, llm="mt5", data={"pictures": False, "text": True}, gradient_checkpointing=checkpointing)
    stage = prepare_stage(
        recipe, 0, built.model, built.processor, Sources(), build_accelerator("fp32", "cpu"), Ledger(None, 0.01)
    )
    step = TrainingStep(built.model, stage.objective)
    (batch,) = stage.loader.load(0).batches
    step(batch).sum.backward()
    found = [parameter.grad for parameter in step.parameters() if parameter.grad is not None]
    assert len(found) == 1
    assert not torch.any(found[0])
