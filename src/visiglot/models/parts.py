"""What trains in a stage: `full`, `lora`, `frozen` or `bypassed`, and a learning rate, for each part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from visiglot.config import Mode, StageSection
from visiglot.errors import ConfigError, nearest
from visiglot.models import language_model as lm
from visiglot.models.connectors import Connector
from visiglot.models.lora import inject_lora, merge_layers
from visiglot.models.quantize import refuse_quantized
from visiglot.models.vlm import VisionLanguageModel


@dataclass(frozen=True)
class PartGroup:
    """Parameters that share a path of the recipe, a mode and a learning rate."""

    path: str
    mode: Mode
    lr: float
    parameters: tuple[tuple[str, nn.Parameter], ...]

    @property
    def trains(self) -> bool:
        return self.mode in ("full", "lora")

    @property
    def size(self) -> int:
        return sum(parameter.numel() for _, parameter in self.parameters)


def apply_parts(model: VisionLanguageModel, stage: StageSection) -> list[PartGroup]:
    """Freeze and unfreeze the model for a stage, in place; low-rank layers are added when a part asks for them.

    The longest listed path that a parameter's name starts with decides; a parameter below no listed path is frozen.
    Low-rank layers that are there already are kept and trained on (one LoRA across stages). What is bypassed is frozen,
    and left out of the model, checkpoints included, until a stage that doesn't bypass it.

    Returns:
        One group for each listed path, in the recipe's order; frozen ones have parameters too, for the announcement.

    Raises:
        ConfigError: a path that the model doesn't have, `lora` on a part that isn't the language model, `bypassed` on
            one that can't be left out, or a `lora` section that differs from the low-rank layers that are there.
        ModelError: a target of `lora` matches no layer.
    """
    paths = list(stage.parts)
    problems = []
    known = ["vision", "connector", "language_model"] + [
        f"connector.{name}" for name, _ in model.connector.named_children()
    ]
    for path in paths:
        # queries are a parameter, the other paths are modules
        if not any(name == path or name.startswith(f"{path}.") for name, _ in model.named_parameters()):
            close = nearest(path, known)
            did = f"; did you mean {' or '.join(map(repr, close))}?" if close else f" (parts: {', '.join(known)})"
            problems.append(f"stage {stage.name}: parts.{path}: the model has no such part{did}")
        elif stage.parts[path].train == "lora" and path != "language_model":
            problems.append(
                f"stage {stage.name}: parts.{path}: `lora` is for language_model; use `full` or `frozen` here"
            )
    problems += bypass_problems(model.connector, stage)
    if problems:
        raise ConfigError("parts", problems)
    _bypass(model, stage)
    if any(part.train == "lora" for part in stage.parts.values()):
        ensure_lora(model, stage)

    adapters = adapter_names(model)
    chosen: dict[str, list[tuple[str, nn.Parameter]]] = {path: [] for path in paths}
    for name, parameter in model.named_parameters():
        owners = [path for path in paths if name == path or name.startswith(f"{path}.")]
        owner = max(owners, key=len, default=None)
        mode: Mode = "frozen" if owner is None else stage.parts[owner].train
        trained = mode == "full" or (mode == "lora" and name in adapters)
        parameter.requires_grad_(trained)
        if owner is not None and (trained or mode in ("frozen", "bypassed")):
            chosen[owner].append((name, parameter))
    return [
        PartGroup(path, stage.parts[path].train, stage.parts[path].lr or stage.lr, tuple(chosen[path]))
        for path in paths
    ]


def bypass_problems(connector: Connector, stage: StageSection) -> list[str]:
    """What a stage bypasses that can't be left out, a line each."""
    able = [f"connector.{name}" for name in connector.can_bypass]
    can = f"what can be: {', '.join(able)}" if able else "nothing of this model can be"
    return [
        f"stage {stage.name}: parts.{path}: can't be bypassed; {can}"
        for path, part in stage.parts.items()
        if part.train == "bypassed" and path not in able
    ]


def _bypass(model: VisionLanguageModel, stage: StageSection) -> None:
    """Leave out what the stage bypasses, and take the rest in; the config says so, so that a checkpoint does it too."""
    if not model.connector.can_bypass:
        return
    model.connector.bypass(any(part.train == "bypassed" for part in stage.parts.values()))
    described = model.config.connector
    options = {**described["options"], "bypassed": model.connector.bypassed}
    model.config.connector = {**described, "options": options}


def ensure_lora(model: VisionLanguageModel, stage: StageSection) -> None:
    """Give the LLM low-rank layers, unless it has the ones that the stage asks for.

    Raises:
        ConfigError: it has others.
        ModelError: a target matches nothing.
    """
    lora = stage.lora
    targets = lm.linear_targets(model.language_model) if lora.targets == "all-linear" else sorted(lora.targets)
    asked = {"rank": lora.rank, "alpha": lora.alpha, "dropout": lora.dropout, "targets": list(targets)}
    there = model.config.lora
    if there is None:
        inject_lora(model.language_model, asked)
        model.config.lora = asked
        return
    there = {**there, "targets": sorted(there["targets"])}
    problems = [
        f"stage {stage.name}: lora.{key}: is {asked[key]!r}, but the low-rank layers there have {there[key]!r}"
        for key in asked
        if asked[key] != there[key]
    ]
    if problems:
        raise ConfigError("parts", problems, hint="Low-rank layers are trained on as they are: give the same `lora`.")


def adapter_names(model: nn.Module) -> set[str]:
    """Full names of the low-rank parameters."""
    from peft.tuners.lora import LoraLayer

    return {
        f"{module_name}.{name}"
        for module_name, module in model.named_modules()
        if isinstance(module, LoraLayer)
        for name, _ in module.named_parameters()
        if name.startswith("lora_")
    }


def merge_lora(model: VisionLanguageModel) -> None:
    """Add the low-rank layers' product to the weights they adapt and take the layers out, in place.

    Raises:
        ModelError: the model is quantised.
    """
    refuse_quantized(model, "merged with its low-rank layers")
    merge_layers(model.language_model)
    model.config.lora = None


def describe_parts(model: VisionLanguageModel, groups: Sequence[PartGroup]) -> list[str]:
    """One line a part: how many parameters it has, how many train, in which mode and at which learning rate."""
    lines = []
    for name in ("vision", "connector", "language_model"):
        total = sum(parameter.numel() for parameter in getattr(model, name).parameters())
        own = [group for group in groups if group.path == name or group.path.startswith(f"{name}.")]
        trained = [group for group in own if group.trains and group.size]
        left_out = "".join(f", {group.path} bypassed" for group in own if group.mode == "bypassed")
        if not trained:
            lines.append(f"{name}  frozen  {count(total)}{left_out}")
            continue
        detail = ", ".join(
            f"{group.path.removeprefix(name).lstrip('.') or 'all'} {group.mode} {count(group.size)} lr {group.lr:.0e}"
            for group in trained
        )
        lines.append(f"{name}  {detail}  of {count(total)}{left_out}")
    return lines


def count(number: int) -> str:
    """A parameter count for people: 124.4M."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def trainable(groups: Sequence[PartGroup]) -> list[Any]:
    """Every parameter that trains."""
    return [p for group in groups for _, p in group.parameters if p.requires_grad]
