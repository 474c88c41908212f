"""The first step of a recipe's first stage, on a tiny model: what it costs, and which gradients it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tests.tiny import build_tiny
from torch import Tensor

from visiglot.config import Recipe
from visiglot.data.ledger import Ledger
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import Sources, TrainingStep, prepare_stage


@dataclass(frozen=True)
class OneStep:
    """Losses of the rows [R], and gradients by name."""

    losses: Tensor
    gradients: dict[str, Tensor]
    model: VisionLanguageModel


def one_step(recipe: Recipe, **parts: Any) -> OneStep:
    """Args:
    parts: of the tiny model (`build_tiny`), those of the recipe.
    """
    built = build_tiny(**parts)
    accelerator = build_accelerator(recipe.train.precision, "cpu")
    stage = prepare_stage(recipe, 0, built.model, built.processor, Sources(), accelerator, Ledger(None, 0.01))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in built.model.named_parameters():
        if "lora_B" in name:  # zeros at first, which let no gradient through
            parameter.data.normal_(std=0.1, generator=generator)
    torch.manual_seed(2)
    (batch,) = stage.loader.load(0).batches
    with accelerator.autocast():
        loss = TrainingStep(built.model, stage.objective)(batch)
    loss.sum.backward()
    found = {name: one.grad for name, one in built.model.named_parameters() if one.grad is not None}
    return OneStep(loss.rows, found, built.model)
