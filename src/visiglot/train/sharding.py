"""How several processes share a model: each has a copy of it (DDP), or a piece of each of its tensors (FSDP2).

DDP is accelerate's. FSDP2 is PyTorch's `fully_shard` itself, on GPUs as on CPUs: accelerate has it for GPUs alone, and
runs DDP elsewhere without a word. Each layer of the vision encoder and of the language model is put together when it is
needed and let go afterwards; all else (embeddings, head, connector, the objective's own) is put together for the step.
In bf16 layers travel in bf16; gradients are summed, and weights kept, in float32.

A checkpoint is the same whatever wrote it: tensors are put together one at a time, on the main process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.export import register_dataclass
from torch.utils._pytree import tree_map

from visiglot.config import Recipe, StageSection
from visiglot.errors import ConfigError
from visiglot.models.quantize import is_quantized, whole_weights
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.objectives import Objective, ObjectiveLoss

if TYPE_CHECKING:
    from accelerate import Accelerator

    from visiglot.train.stages import TrainingStep

register_dataclass(ObjectiveLoss)  # FSDP2 looks for the tensors of what a module returns


def cuts_up(recipe: Recipe, processes: int) -> bool:
    """Whether each process is to hold a piece of each tensor; one process alone has them whole."""
    return recipe.train.sharding == "fsdp2" and processes > 1


def refuse_uncuttable(recipe: Recipe, section: StageSection, model: VisionLanguageModel, objective: Objective) -> None:
    """Raises ConfigError for what needs whole tensors in a stage whose tensors are cut up."""
    where = f"stages.{section.name}"
    problems = []
    if section.optimiser == "muon":
        problems.append(f"{where}.optimiser: muon orthogonalises whole matrices; use adamw")
    if section.objective == "assignment" and model.connector.memory is not None:
        problems.append(f"{where}.objective: assignment sets phrases of a memory, and needs it whole")
    for part in (model, objective):
        problems += [
            f"{where}: {name} is a single number that trains, and can't be cut"
            for name, parameter in part.named_parameters()
            if parameter.requires_grad and parameter.ndim == 0
        ]
    if problems:
        hint = "Train this stage with train.sharding=ddp, or in one process."
        raise ConfigError(f"recipe {recipe.name}", problems, hint=hint)


# --- before training -------------------------------------------------------------------------------------------------


def spread(step: TrainingStep, accelerator: Accelerator, *, cut: bool, cached: bool = False) -> nn.Module:
    """The step as all processes make it together; its `forward` meets those of the others.

    Args:
        step: on the device, or anywhere if it is cut; the same in all processes.
        cut: give each process a piece of each tensor; else it has a copy.
        cached: leave whole what is frozen of encoder and connector, for a process fills a cache of features by itself.
    """
    if not cut:
        return accelerator.prepare_model(step)  # type: ignore[no-any-return]
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    model, policy = step.model, MixedPrecisionPolicy()
    if accelerator.mixed_precision == "bf16":
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    whole = {parameter for parameter in step.parameters() if parameter.ndim == 0}
    if cached:
        seen = (*model.vision.parameters(), *model.connector.parameters())
        whole.update(parameter for parameter in seen if not parameter.requires_grad)
    for part in (model.language_model,) if cached else (model.vision, model.language_model):
        for layer in layers_of(part):
            fully_shard(layer, mesh=mesh, mp_policy=policy, ignored_params=whole)
    fully_shard(step, mesh=mesh, ignored_params=whole)
    for parameter in whole:
        parameter.data = parameter.data.to(accelerator.device)
    return accelerator.prepare_model(step, evaluation_mode=True)  # type: ignore[no-any-return]  # the number format only


def layers_of(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a stack: what stands in its outermost lists of modules."""
    for child in module.children():
        yield from child if isinstance(child, nn.ModuleList) else layers_of(child)


def describe_pieces(module: nn.Module, processes: int) -> str:
    """A line about what this process holds of a module that is cut up."""
    pieces = [parameter for parameter in module.parameters() if isinstance(parameter, DTensor)]
    held = sum(parameter.to_local().numel() for parameter in pieces)
    total = sum(parameter.numel() for parameter in pieces)
    return f"fsdp2: {len(pieces):,} tensors in {processes} pieces; {held:,} of {total:,} numbers on this process"


def let_go(module: nn.Module) -> None:
    """Let go of what a forward pass without gradients put together."""
    if isinstance(module, FSDPModule):
        module.reshard()


# --- a checkpoint ----------------------------------------------------------------------------------------------------


def whole_state(module: nn.Module, *, main: bool) -> dict[str, Tensor] | None:
    """The state of a module with every tensor whole, quantised weights as the numbers that they stand for.

    All processes call this at once if the module is cut up.

    Returns:
        None where the module's own state is all that already; on other processes than the main one nothing of use.
    """
    if not is_quantized(module) and not any(isinstance(parameter, DTensor) for parameter in module.parameters()):
        return None
    found: dict[int, Tensor] = {}  # tied weights, of which a state has one tensor under several names, stay one
    state: dict[str, Tensor] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) not in found:
            found[id(value)] = _whole(value.detach(), main=main)
        state[name] = found[id(value)]
    return whole_weights(module, state) if main else state


def whole_optimiser_state(optimiser: torch.optim.Optimizer, *, main: bool) -> dict[str, Any]:
    """What `optimiser.state_dict()` is in one process; all processes call this at once."""
    state: dict[str, Any] = tree_map(
        lambda value: _whole(value, main=main) if isinstance(value, DTensor) else value, optimiser.state_dict()
    )
    return state


def load_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Fill an optimiser with what `whole_optimiser_state` gave, of which each process reads its pieces."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    cut = any(isinstance(parameter, DTensor) for parameter in parameters)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=cut)
    if cut:
        for number, kept in state["state"].items():
            parameter = parameters[number]
            for key, value in kept.items():
                if isinstance(parameter, DTensor) and value.shape == parameter.shape:
                    kept[key] = distribute_tensor(
                        value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
                    )
    optimiser.load_state_dict(state)


def _whole(value: Tensor, *, main: bool) -> Tensor:
    if not isinstance(value, DTensor):
        return value
    whole = value.full_tensor()
    return whole.cpu() if main else whole.new_empty(0)
