"""What can't be cut up over processes, and passes that teach a process nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.drawn import drawn_recipe
from tests.tiny import build_tiny
from torch import nn

from visiglot.config import Recipe
from visiglot.data.ledger import Ledger
from visiglot.errors import ConfigError
from visiglot.models.parts import apply_parts
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.precision import build_accelerator
from visiglot.train.resume import recipe_hash
from visiglot.train.sharding import cuts_up, layers_of, refuse_uncuttable, whole_state
from visiglot.train.stages import Sources, TrainingStep, prepare_stage


def sharded(stage: dict[str, Any]) -> Recipe:
    return drawn_recipe(stage, sharding="fsdp2")


def refuse(recipe: Recipe) -> None:
    built, section = build_tiny(), recipe.stages[0]
    apply_parts(built.model, section)
    objective = OBJECTIVES.get(section.objective)(built.model, built.processor.spec(), recipe.train, section.options)
    refuse_uncuttable(recipe, section, built.model, objective)


def test_only_several_processes_cut_a_model_up() -> None:
    assert cuts_up(sharded({}), 2)
    assert not cuts_up(sharded({}), 1)
    assert not cuts_up(drawn_recipe({}), 2)


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ({"optimiser": "muon"}, "optimiser: muon orthogonalises whole matrices"),
        ({"objective": "contrastive"}, "log_scale is a single number that trains"),
    ],
)
def test_what_needs_whole_tensors_is_refused_by_name(stage: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        refuse(sharded(stage))
    assert "train.sharding=ddp" in str(caught.value.hint)
    refuse(sharded({}))


def test_a_run_may_go_on_with_the_other_way_to_share() -> None:
    assert recipe_hash(sharded({})) == recipe_hash(drawn_recipe({}))


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
