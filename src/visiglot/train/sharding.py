"""How several processes share a model: each has a copy of it (DDP), or a piece of each of its tensors (FSDP2, ZeRO).

DDP is accelerate's. FSDP2 is PyTorch's `fully_shard` itself, on GPUs as on CPUs: accelerate has it for GPUs alone, and
runs DDP elsewhere without a word. Each layer of the vision encoder and of the language model is put together when it is
needed and let go afterwards; all else (embeddings, head, connector, the objective's own) is put together for the step.
In bf16 layers travel in bf16; gradients are summed, and weights kept, in float32. ZeRO is DeepSpeed's, in a file of its
own (`visiglot.train.zero`).

A checkpoint is the same whatever wrote it: tensors are put together one at a time, on the main process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

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

Sharding = Literal["ddp", "fsdp2", "zero2", "zero3"]
"""ddp: each process has a copy of everything. fsdp2: a piece of each tensor, cut along its first axis. zero2: a copy of
the weights, a piece of their gradients and of the optimiser's state. zero3: a piece of the layers' weights too."""
ZERO = ("zero2", "zero3")

register_dataclass(ObjectiveLoss)  # FSDP2 looks for the tensors of what a module returns


def cuts_up(recipe: Recipe, processes: int) -> bool:
    """Whether each process is to hold a piece of each gradient, if no more; one process alone has all whole."""
    return recipe.train.sharding != "ddp" and processes > 1


def cuts_weights(recipe: Recipe, processes: int) -> bool:
    """Whether each process is to hold a piece of each weight too, so that a forward pass takes all of them."""
    return recipe.train.sharding in ("fsdp2", "zero3") and processes > 1


def start_package(recipe: Recipe, accelerator: Accelerator) -> None:
    """Start the package that shares the model, if there is one. Raises MissingExtraError."""
    if recipe.train.sharding in ZERO and accelerator.num_processes > 1:
        from visiglot.train.zero import start_deepspeed

        start_deepspeed(accelerator)


def refuse_uncuttable(recipe: Recipe, section: StageSection, model: VisionLanguageModel, objective: Objective) -> None:
    """Raises ConfigError for what needs whole tensors in a stage whose tensors are cut up."""
    where = f"stages.{section.name}"
    problems = []
    if section.optimiser == "muon":
        problems.append(f"{where}.optimiser: muon orthogonalises whole matrices; use adamw")
    if section.objective == "assignment" and model.connector.memory is not None:
        problems.append(f"{where}.objective: assignment sets phrases of a memory, and needs it whole")
    if recipe.train.sharding in ZERO and recipe.model.language_model.quantize is not None:
        problems.append("model.language_model.quantize: isn't tried with DeepSpeed; use fsdp2 or ddp")
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


def spread(step: TrainingStep, accelerator: Accelerator, sharding: Sharding, *, cached: bool = False) -> nn.Module:
    """The step as all processes make it together; its `forward` meets those of the others.

    Args:
        step: on the device, or anywhere if its weights are cut up; the same in all processes.
        sharding: how they share; one process alone shares nothing.
        cached: leave whole what is frozen of encoder and connector, for a process fills a cache of features by itself.
    """
    if accelerator.num_processes == 1 or sharding == "ddp":
        return accelerator.prepare_model(step)  # type: ignore[no-any-return]
    if sharding != "fsdp2":  # DeepSpeed takes it when there is an optimiser
        return accelerator.prepare_model(step, evaluation_mode=True)  # type: ignore[no-any-return]
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    model, policy = step.model, MixedPrecisionPolicy()
    if accelerator.mixed_precision == "bf16":
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    whole = {parameter for parameter in step.parameters() if parameter.ndim == 0}
    if cached:
        seen = (*model.vision.parameters(), *model.connector.parameters())
        whole.update(parameter for parameter in seen if not parameter.requires_grad)
    for layer in cut_layers(model, cached=cached):
        fully_shard(layer, mesh=mesh, mp_policy=policy, ignored_params=whole)
    fully_shard(step, mesh=mesh, ignored_params=whole)
    for parameter in whole:
        parameter.data = parameter.data.to(accelerator.device)
    return accelerator.prepare_model(step, evaluation_mode=True)  # type: ignore[no-any-return]  # the number format only


class Updates(Protocol):
    """How the gradients of a step come together, and what becomes of them."""

    @property
    def module(self) -> nn.Module:
        """What a forward pass goes through, like a TrainingStep."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of the optimiser; learning rates are set there."""

    def passing(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Around each forward and backward pass; `last` of the step."""

    def backward(self, loss: Tensor) -> None:
        """Add a pass's gradient, which the processes' are averaged into."""

    def clip(self, largest: float) -> float:
        """Scale the gradient down to norm `largest`, and return the norm it had. All processes call this at once.

        A gradient of zero is forgotten: what nothing was taught isn't moved by what it learned before.
        """

    def update(self) -> None:
        """Change the weights, and forget the gradient."""

    def state_dict(self, *, main: bool) -> dict[str, Any]:
        """What the optimiser's `state_dict` is in one process; all processes call this at once."""

    def load(self, path: Path) -> None:
        """Take up what `state_dict` gave, in however many processes and however they shared."""

    def close(self) -> None:
        """Let go of model and optimiser."""


def prepare_updates(
    module: nn.Module,
    step: TrainingStep,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    accelerator: Accelerator,
    sharding: Sharding,
    *,
    cached: bool = False,
) -> Updates:
    """The updates of a stage.

    Args:
        module: what `spread` made of `step`.
        optimiser: of `parameters`.
        parameters: all that train.
    """
    if accelerator.num_processes == 1 or sharding not in ZERO:
        return PlainUpdates(module, optimiser, parameters, accelerator)
    from visiglot.train.zero import ZeroUpdates

    return ZeroUpdates(step, optimiser, accelerator, sharding, cut_layers(step.model, cached=cached), cached=cached)


class PlainUpdates:
    """`Updates` of one process, of DDP and of FSDP2."""

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        parameters: Sequence[nn.Parameter],
        accelerator: Accelerator,
    ) -> None:
        self.module = module
        self.optimiser = accelerator.prepare_optimizer(optimiser)
        self.accelerator = accelerator
        self.parameters = parameters

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimiser.param_groups  # type: ignore[no-any-return]

    def passing(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if last else self.accelerator.no_sync(self.module)

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def clip(self, largest: float) -> float:
        norm = float(self.accelerator.clip_grad_norm_(self.parameters, largest))
        if norm == 0:
            self.optimiser.zero_grad()
        return norm

    def update(self) -> None:
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state_dict(self, *, main: bool) -> dict[str, Any]:
        state: dict[str, Any] = tree_map(
            lambda value: _whole(value, main=main) if isinstance(value, DTensor) else value,
            self.optimiser.state_dict(),
        )
        return state

    def load(self, path: Path) -> None:
        """Each process reads its pieces."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
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
        self.optimiser.load_state_dict(state)

    def close(self) -> None:
        self.accelerator.free_memory()


def cut_layers(model: VisionLanguageModel, *, cached: bool = False) -> Iterator[nn.Module]:
    """The layers whose weights are put together when they are needed, each by itself."""
    for part in (model.language_model,) if cached else (model.vision, model.language_model):
        yield from layers_of(part)


def layers_of(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a stack: what stands in its outermost lists of modules."""
    for child in module.children():
        yield from child if isinstance(child, nn.ModuleList) else layers_of(child)


def describe_pieces(module: nn.Module, processes: int) -> str:
    """A line about what this process holds of a module that is cut up."""
    pieces = [parameter for parameter in module.parameters() if is_shared(parameter)]
    held, total = (sum(numbers) for numbers in zip(*map(numbers_of, pieces), strict=True))
    return f"{len(pieces):,} tensors in {processes} pieces; {held:,} of {total:,} numbers on this process"


def numbers_of(parameter: nn.Parameter) -> tuple[int, int]:
    """Numbers that this process holds of a parameter's weights, and all of them."""
    if isinstance(parameter, DTensor):
        return parameter.to_local().numel(), parameter.numel()
    of_deepspeed: Any = parameter
    if hasattr(parameter, "ds_id") and not of_deepspeed.ds_persist:
        return of_deepspeed.ds_tensor.numel(), of_deepspeed.ds_numel
    return parameter.numel(), parameter.numel()


def let_go(module: nn.Module) -> None:
    """Let go of what a forward pass without gradients put together."""
    if isinstance(module, FSDPModule):
        module.reshard()


def is_cut(parameter: nn.Parameter) -> bool:
    """Whether this process has a piece of a parameter only; DeepSpeed marks those by attributes."""
    return isinstance(parameter, DTensor) or hasattr(parameter, "ds_id")


def is_shared(parameter: nn.Parameter) -> bool:
    """Whether this process has a piece of a parameter only, or of its gradient."""
    return is_cut(parameter) or hasattr(parameter, "_hp_mapping")


# --- a checkpoint ----------------------------------------------------------------------------------------------------


def whole_state(module: nn.Module, *, main: bool) -> dict[str, Tensor] | None:
    """The state of a module with every tensor whole, quantised weights as the numbers that they stand for.

    All processes call this at once if the module is cut up.

    Returns:
        None where the module's own state is all that already; on other processes than the main one nothing of use.
    """
    cut = [parameter for parameter in module.parameters() if is_shared(parameter)]
    if not is_quantized(module) and not cut:
        return None
    found: dict[int, Tensor] = {}  # tied weights, of which a state has one tensor under several names, stay one
    if not all(isinstance(parameter, DTensor) for parameter in cut):
        from visiglot.train.zero import whole_tensors

        found = whole_tensors(cut, main=main)
    state: dict[str, Tensor] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) not in found:
            found[id(value)] = _whole(value.detach(), main=main)
        state[name] = found[id(value)]
    return whole_weights(module, state) if main else state


def _whole(value: Tensor, *, main: bool) -> Tensor:
    if not isinstance(value, DTensor):
        return value
    whole = value.full_tensor()
    return whole.cpu() if main else whole.new_empty(0)
