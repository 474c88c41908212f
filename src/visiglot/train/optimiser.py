"""The optimiser of a stage: AdamW, or Muon for the matrices between hidden layers and AdamW for everything else.

Muon (Jordan et al., 2024) orthogonalises each matrix's update. It learns associations that are seen rarely faster than
AdamW does, such as the name of a thing in one of many languages. Its learning rates mean what AdamW's mean, by the
scaling of Liu et al. (2025, arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import nn

from visiglot.config import StageSection
from visiglot.models.parts import PartGroup
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.objectives import Objective
from visiglot.train.stages import trained

Group = dict[str, Any]
"""A parameter group of torch, with its path and peak learning rate beside what the optimiser asks for."""

MUON_MOMENTUM = 0.95
"""Jordan's."""


def build_optimiser(
    model: VisionLanguageModel, groups: Iterable[PartGroup], objective: Objective, section: StageSection
) -> torch.optim.Optimizer:
    """The optimiser of a stage's trained parts and of its objective's own parameters."""
    found = optimiser_groups(groups, objective, section)
    if section.optimiser == "adamw":
        return torch.optim.AdamW(found, betas=section.betas, fused=True)
    return MuonAndAdamW(found, hidden_matrices(model, objective), betas=section.betas)


def optimiser_groups(groups: Iterable[PartGroup], objective: Objective, section: StageSection) -> list[Group]:
    """Parameter groups: one learning rate a part; matrices decay, vectors (biases, norms, scales) don't."""
    parts = [(group.path, group.lr, [parameter for _, parameter in group.parameters]) for group in trained(groups)]
    parts.append((f"objective.{section.objective}", section.lr, list(objective.parameters())))
    found = []
    for path, lr, parameters in parts:
        for decay, own in (
            (section.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            if own:
                found.append({"params": own, "lr": lr, "peak_lr": lr, "weight_decay": decay, "path": path})
    return found


def hidden_matrices(*modules: nn.Module) -> set[nn.Parameter]:
    """Weights of the linear layers, but for a head over the vocabulary and whatever is tied to an embedding."""
    outer = {module.weight for part in modules for module in part.modules() if isinstance(module, nn.Embedding)}
    for part in modules:
        head = part.get_output_embeddings() if isinstance(part, VisionLanguageModel) else None
        if isinstance(head, nn.Linear):
            outer.add(head.weight)
    linear = {module.weight for part in modules for module in part.modules() if isinstance(module, nn.Linear)}
    return cast(set[nn.Parameter], linear - outer)


class MuonAndAdamW(torch.optim.Optimizer):
    """Two optimisers that look like one.

    Args:
        groups: as AdamW takes them.
        matrices: the parameters that are Muon's.
        betas: AdamW's.
    """

    def __init__(self, groups: Iterable[Group], matrices: set[nn.Parameter], *, betas: tuple[float, float]) -> None:
        groups = list(groups)
        for_muon = _part_of(groups, lambda parameter: parameter in matrices)
        for_adamw = _part_of(groups, lambda parameter: parameter not in matrices)
        self.inner: dict[str, torch.optim.Optimizer] = {}
        if for_muon:
            self.inner["muon"] = torch.optim.Muon(
                for_muon, momentum=MUON_MOMENTUM, nesterov=True, adjust_lr_fn="match_rms_adamw"
            )
        if for_adamw:
            self.inner["adamw"] = torch.optim.AdamW(for_adamw, betas=betas, fused=True)
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[Group]:  # type: ignore[override]
        """The groups of both, as they are now."""
        return [group for inner in self.inner.values() for group in inner.param_groups]

    @property
    def state(self) -> dict[Any, Any]:  # type: ignore[override]
        """What is kept for each parameter."""
        return {parameter: kept for inner in self.inner.values() for parameter, kept in inner.state.items()}

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters."""
        assert closure is None
        for inner in self.inner.values():
            inner.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for inner in self.inner.values():
            inner.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """{"muon": …, "adamw": …}."""
        return {name: inner.state_dict() for name, inner in self.inner.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        for name, inner in self.inner.items():
            inner.load_state_dict(state_dict[name])


def _part_of(groups: Iterable[Group], belongs: Callable[[nn.Parameter], bool]) -> list[Group]:
    found = [{**group, "params": [p for p in group["params"] if belongs(p)]} for group in groups]
    return [group for group in found if group["params"]]
