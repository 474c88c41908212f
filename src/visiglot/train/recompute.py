"""Gradient checkpointing (Chen et al., 2016, arXiv 1604.06174): what is computed again in the backward pass instead of
being kept for it.

    layers     of a part: their input is kept, and the dropout that they had is drawn again
    weights    that train, as autocast rounds them to bf16: the weights themselves are there anyway

Either way a step is the same to the bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from visiglot.config import Recipe
from visiglot.errors import ConfigError
from visiglot.models.config import PARTS
from visiglot.models.vlm import VisionLanguageModel


def recompute(recipe: Recipe, model: VisionLanguageModel) -> None:
    """Have what `train.gradient_checkpointing` names be computed again, in a model with a stage's parts applied.

    Raises:
        ConfigError: a part has no layers that can be.
    """
    again: tuple[str, ...] = recipe.train.checkpointed
    for part in (name for name in PARTS if name in again):
        module = getattr(model, part)
        stock = (inner for inner in module.modules() if isinstance(inner, PreTrainedModel))
        able = next((one for one in stock if any(hasattr(x, "gradient_checkpointing") for x in one.modules())), None)
        if able is None:
            raise ConfigError(
                f"recipe {recipe.name}",
                [f"train.gradient_checkpointing: {part} ({type(module).__name__}) has no layers to compute again"],
                hint=f"Leave {part} out of the list.",
            )
        able.activation_checkpointing_enable({"use_reentrant": False, "context_fn": _both_passes})
    for part in PARTS:
        module = getattr(model, part)
        for layer in (inner for inner in module.modules() if isinstance(inner, GradientCheckpointingLayer)):
            vars(layer).pop("forward", None)  # of an earlier stage
            if part in again and not module.training:  # transformers computes again in training mode alone
                vars(layer)["forward"] = partial(_again, layer.forward)
    if "weights" in again:
        for part in (name for name in PARTS if name not in again):  # a layer's own are let go of with it
            for module in getattr(model, part).modules():
                if type(module) in (nn.Linear, RoundedAgain):
                    module.__class__ = RoundedAgain if module.weight.requires_grad else nn.Linear


# --- layers ----------------------------------------------------------------------------------------------------------


def _again(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What a layer of a frozen part gives: a gradient passes it on its way to what trains."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, context_fn=_both_passes, **named)


def _both_passes() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """What a layer's first pass runs in, and its second."""
    return _without_cache(), _without_cache()


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Let autocast keep no weights that it rounded: it would until the loss, as if nothing were computed again."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


# --- weights ---------------------------------------------------------------------------------------------------------


class RoundedAgain(nn.Linear):
    """A linear layer that keeps no rounded weights for the backward pass, and rounds them there once more."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., K] -> [..., N]."""
        device = input.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight.dtype
        if dtype == self.weight.dtype or not torch.is_grad_enabled():
            return super().forward(input)
        rounded = self.weight.to(dtype)
        storage = rounded.untyped_storage().data_ptr()

        def pack(kept: Tensor) -> Tensor | _Rounded:
            if kept.untyped_storage().data_ptr() != storage:
                return kept
            return _Rounded(self.weight, dtype, kept.shape, kept.stride())

        with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
            return linear(input, rounded, self.bias)


@dataclass(frozen=True, slots=True)
class _Rounded:
    """A view of a weight in another number format."""

    weight: Tensor
    dtype: torch.dtype
    shape: torch.Size
    strides: tuple[int, ...]


def _unpack(kept: Tensor | _Rounded) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    return kept.weight.detach().to(kept.dtype).as_strided(kept.shape, kept.strides)
