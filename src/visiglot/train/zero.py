"""DeepSpeed's ZeRO (Rajbhandari et al., 2020, arXiv 1910.02054), behind the seam of DDP and FSDP2.

    zero2   weights are whole in each process; gradients and the optimiser's state are in pieces
    zero3   so are the weights of the encoder's and the language model's layers; what lies outside them stays whole

DeepSpeed's engine exchanges gradients and puts weights together. The optimiser is the stage's own AdamW, over flat
pieces that take the place of its parameters, and the loop decides when it steps. Three things are done here that the
engine does otherwise, so that a run takes the path of one process:

- A parameter that no pass of a step used, in any process, is left alone. The engine would take its gradient for zero,
  let its moments fade and its weight decay.
- The gradient's norm is taken, and clipped, before the update, for the loop to look at.
- Checkpoints are those of one process. The engine's own are a file for each process, and fit their number alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from visiglot.errors import CheckpointError, MissingExtraError, TrainingError
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.objectives import ObjectiveLoss
from visiglot.types import Batch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from visiglot.train.stages import TrainingStep

BUCKET = 50_000_000
"""Numbers that are exchanged together. DeepSpeed's default is ten times that, a buffer of 2 GB."""

WHOLE_BELOW = 100_000
"""zero3: tensors of up to so many numbers stay whole, DeepSpeed's default: it takes long to put many together."""

LIVE = 2 * BUCKET
"""zero3: numbers of layers' weights that may be whole at one time. DeepSpeed's default is ten times that."""

STAGES = {"zero2": 2, "zero3": 3}

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's, by torch's names."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What this process updates of a parameter.

    Args:
        flat: what the optimiser has in place of a group's parameters.
        start, count: where the piece lies in it.
        first: number of the parameter's that it begins with.
    """

    flat: Tensor
    start: int
    count: int
    first: int

    def of(self, tensor: Tensor) -> Tensor:
        """The piece in a tensor that is laid out as `flat` is, as a moment is."""
        return tensor.detach()[self.start : self.start + self.count]


class ZeroUpdates:
    """How gradients are exchanged and weights updated, as `visiglot.train.sharding.Updates`, once DeepSpeed is started.

    Args:
        step: the stage's TrainingStep; on the device, if its weights stay whole.
        optimiser: of its parameters.
        sharding: zero2 or zero3.
        layers: zero3: whose weights are cut up.
        cached: leave the encoder alone, for it fills a cache of features by itself, beside training.
    """

    def __init__(
        self,
        step: TrainingStep,
        optimiser: torch.optim.Optimizer,
        accelerator: Accelerator,
        sharding: str,
        layers: Iterable[nn.Module],
        *,
        cached: bool = False,
    ) -> None:
        self.stage = STAGES[sharding]
        self.optimiser = optimiser
        self.device = accelerator.device
        self.groups: list[dict[str, Any]] = optimiser.state_dict()["param_groups"]
        self.parameters: list[nn.Parameter] = [p for group in optimiser.param_groups for p in group["params"]]
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.order: list[int] = []  # in which gradients came, as numbers of parameters
        self.idle: set[int] = set()  # numbers of those without a gradient in this step
        self.ever: set[int] = set()  # of those with a gradient in any
        self.counts = [0.0] * len(self.groups)  # updates of each group
        self._spared: list[tuple[Tensor, Tensor]] = []  # what an update is to leave alone, and how it was
        for number, parameter in enumerate(self.parameters):
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                lambda _, number=number: self.order.append(number)
            )
        cut = {id(parameter) for layer in layers for parameter in layer.parameters()}
        self._apart = partial(_without_encoder, step.model) if cached and self.stage == 3 else contextlib.nullcontext
        with self._apart():
            outside = [parameter for parameter in step.parameters() if id(parameter) not in cut]
            self.engine = self._build_engine(_Flat(step))
        self.zero = self.engine.optimizer
        if self.stage == 3:
            self._keep_whole(outside)
        self.flats = self._find_flats()
        self.pieces = dict(self._find_pieces())
        optimiser.register_step_pre_hook(self._before_update)
        optimiser.register_step_post_hook(self._after_update)
        self.module = _Engine(self.engine)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimiser.param_groups

    # --- a step ---

    @contextlib.contextmanager
    def passing(self, *, last: bool) -> Iterator[None]:
        """Around a forward and backward pass; `last` of the step."""
        self.engine.set_gradient_accumulation_boundary(last)
        yield

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss, scale_wrt_gas=False)

    def clip(self, largest: float) -> float:
        """Scale the gradient down to norm `largest`; the norm it had. All processes call this at once.

        Raises:
            TrainingError: the processes went through the model in different orders, so that gradients are mixed up.
        """
        self._agree_on_used()
        gradients = [gradient for of_group in self.zero.averaged_gradients.values() for gradient in of_group or ()]
        squares = torch.zeros((), dtype=torch.float64, device=self.device)
        for gradient in gradients:
            squares += torch.linalg.vector_norm(gradient, dtype=torch.float32).double() ** 2
        dist.all_reduce(squares)
        norm = float(squares.sqrt())
        if norm == 0:
            self.idle = set(range(len(self.parameters)))
        if norm > largest:
            for gradient in gradients:
                gradient.mul_(largest / (norm + 1e-6))
        return norm

    def update(self) -> None:
        """Step, and forget the gradients."""
        with self._apart():
            self.engine.step()
        self.ever |= set(range(len(self.parameters))) - self.idle
        for group, kept in enumerate(self.groups):
            self.counts[group] += not self.idle.issuperset(kept["params"])
        if hasattr(self.zero, "grad_partitions_flat_buffer"):  # zero3 adds to what is there from the second pass on
            self.zero.grad_partitions_flat_buffer.zero_()

    def close(self) -> None:
        """Let go of the model; without this DeepSpeed keeps it."""
        from deepspeed.runtime.zero import parameter_offload

        with self._apart():
            self.engine.destroy()
        parameter_offload.FWD_MODULE_STACK.clear()

    def _agree_on_used(self) -> None:
        """Set `idle` to the parameters that no process has a gradient of."""
        digest = hashlib.sha256(str(self.order).encode()).digest()
        number = int.from_bytes(digest[:7], "big")
        used = torch.zeros(len(self.parameters) + 2, dtype=torch.int64, device=self.device)
        used[self.order] = 1
        used[-2], used[-1] = number, -number
        dist.all_reduce(used, dist.ReduceOp.MAX)
        *found, largest, smallest = used.tolist()
        self.order.clear()
        self.idle = {number for number, one in enumerate(found) if not one}
        if largest != -smallest:
            raise TrainingError(
                "gradients came in different orders in the processes, and DeepSpeed sums them by their order",
                hint="Train with train.sharding=ddp or fsdp2, which don't; the last checkpoint is as it was.",
            )

    def _before_update(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        """Keep what is idle out of an update, which DeepSpeed makes of one flat piece at a time."""
        self._spared = []
        flats = {id(flat) for group in optimiser.param_groups for flat in group["params"]}
        for flat, group in self.flats:
            if id(flat) in flats and self.idle.issuperset(self.groups[group]["params"]):
                flat.grad = None  # AdamW passes over it, and doesn't count the step
        for piece in [self.pieces[number] for number in self.idle.intersection(self.pieces)]:
            if id(piece.flat) in flats and piece.flat.grad is not None:
                moments = [optimiser.state[piece.flat][key] for key in MOMENTS if optimiser.state[piece.flat]]
                self._spared += [(part, part.clone()) for part in map(piece.of, (piece.flat, *moments))]

    def _after_update(self, *_: Any) -> None:
        for part, before in self._spared:
            part.copy_(before)
        self._spared = []

    # --- a checkpoint ---

    def state_dict(self, *, main: bool) -> dict[str, Any]:
        """What the optimiser's state is in one process. All processes call this at once; the main one gets it."""
        state: dict[int, dict[str, Tensor]] = {}
        for group, kept in enumerate(self.groups):
            for number in sorted(self.ever.intersection(kept["params"])):
                whole = {key: self._whole(number, key) for key in MOMENTS}
                state[number] = {key: value.cpu() if main else value.new_empty(0) for key, value in whole.items()}
                state[number]["step"] = torch.tensor(self.counts[group])
        groups = [
            kept | {key: value for key, value in now.items() if key in kept and key != "params"}
            for kept, now in zip(self.groups, self.param_groups, strict=True)
        ]
        return {"state": state, "param_groups": groups}

    def load(self, path: Path) -> None:
        """Take up what one process would have saved. Raises CheckpointError: it can't be done exactly."""
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state: dict[int, dict[str, Tensor]] = saved["state"]
        for group, (kept, now, before) in enumerate(
            zip(self.groups, self.param_groups, saved["param_groups"], strict=True)
        ):
            now.update({key: value for key, value in before.items() if key != "params"})
            counts = sorted({float(state[number]["step"]) for number in kept["params"] if number in state})
            if len(counts) > 1:
                raise CheckpointError(
                    f"{path}: parameters of {kept['path']} were updated {counts} times, and DeepSpeed keeps one count",
                    hint="Go on with train.sharding=ddp or fsdp2 until the stage ends.",
                )
            self.counts[group] = counts[0] if counts else 0.0
        for flat, group in self.flats:
            if self.counts[group]:
                moments = {key: torch.zeros_like(flat, requires_grad=False) for key in MOMENTS}
                self.optimiser.state[flat] = {"step": torch.tensor(self.counts[group], device=flat.device), **moments}
        self.ever = set(state)
        for number in self.ever.intersection(self.pieces):
            piece = self.pieces[number]
            for key in MOMENTS:
                found = state[number][key].flatten()[piece.first : piece.first + piece.count]
                piece.of(self.optimiser.state[piece.flat][key])[: len(found)] = found.to(self.device)

    def _whole(self, number: int, key: str) -> Tensor:
        """A moment of a parameter, put together of all processes' pieces."""
        shape = self.shapes[number]
        whole = torch.zeros(shape.numel(), device=self.device)
        piece = self.pieces.get(number)
        if piece is not None:
            part = whole[piece.first : piece.first + piece.count]
            part.copy_(piece.of(self.optimiser.state[piece.flat][key])[: len(part)])
        dist.all_reduce(whole)
        return whole.view(shape)

    # --- DeepSpeed's own ---

    def _build_engine(self, step: nn.Module) -> Any:
        import deepspeed

        config = _config(self.stage)
        if self.stage == 3:  # cut up one tensor at a time; the engine would first move all of them to the device
            deepspeed.zero.Init(module=step, config_dict_or_path=config)
            for buffer in step.buffers():
                buffer.data = buffer.data.to(self.device)
        return deepspeed.initialize(model=step, optimizer=self.optimiser, config=config)[0]

    def _find_pieces(self) -> Iterator[tuple[int, Piece]]:
        """Number of each parameter of which this process updates a piece, and the piece."""
        numbers = {id(parameter): number for number, parameter in enumerate(self.parameters)}
        for place, (flat, _) in enumerate(self.flats):
            if self.stage == 3:
                for parameter in self.zero.fp16_groups[place]:
                    _, start, count = self.zero.grad_position[self.zero.get_param_id(parameter)]
                    yield numbers[id(parameter)], Piece(flat, start, count, dist.get_rank() * count)
            else:
                for parameter in self.zero.bit16_groups[place]:
                    mapping = parameter._hp_mapping
                    if mapping is not None:
                        here, there = mapping.hp_fragment_address, mapping.lp_fragment_address
                        yield numbers[id(parameter)], Piece(flat, here.start, here.numel, there.start)

    def _find_flats(self) -> list[tuple[Tensor, int]]:
        """What the optimiser has in place of parameters, and the number of the group that each is of."""
        if self.stage == 3:
            of = self.zero.sub_group_to_group_id
            return [(flat, of[place]) for place, flat in enumerate(self.zero.fp32_partitioned_groups_flat)]
        return [(flat, group) for group, flat in enumerate(self.zero.single_partition_of_fp32_groups)]

    def _keep_whole(self, parameters: Iterable[nn.Parameter]) -> None:
        """Have weights whole all the time: what is read outside its module's own forward pass has to be."""
        new = [parameter for parameter in parameters if not parameter.ds_persist]  # type: ignore[attr-defined]
        for parameter in new:
            parameter.ds_persist = True  # type: ignore[attr-defined]
        whole = self.zero.persistent_parameters
        whole += new
        if whole:
            whole[0].all_gather(whole)


class _Flat(nn.Module):
    """A TrainingStep whose output DeepSpeed can look through."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        loss: ObjectiveLoss = self.step(batch)
        return loss.sum, loss.rows, loss.counts


class _Engine(nn.Module):
    """The engine, called like a TrainingStep."""

    def __init__(self, engine: nn.Module) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, batch: Batch) -> ObjectiveLoss:
        return ObjectiveLoss(*self.engine(batch))


@contextlib.contextmanager
def _without_encoder(model: VisionLanguageModel) -> Iterator[None]:
    """With the encoder where nobody finds its parameters, though another thread may use it meanwhile."""
    vision = model.vision
    model.__dict__["vision"] = vision
    model._modules["vision"] = None
    try:
        yield
    finally:
        model._modules["vision"] = vision
        del model.__dict__["vision"]


def start_deepspeed(accelerator: Accelerator) -> None:
    """Set DeepSpeed to this process's exchange, and to stderr. Raises MissingExtraError."""
    try:
        import deepspeed
        from deepspeed.utils import logger
    except ImportError as error:
        raise MissingExtraError("DeepSpeed", "deepspeed") from error
    if accelerator.device.type == "cpu":
        deepspeed.ops.__compatible_ops__ = {}  # else its exchange in shared memory is compiled now
    for handler in logger.handlers:
        handler.setStream(sys.stderr)
    # it fears for weights of modules that take or give what it can't look into; here those are whole
    logger.addFilter(lambda record: "unknown inputs or outputs type" not in str(record.msg))
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)  # of names that it calls
    deepspeed.init_distributed(dist.get_backend(), verbose=False)


def whole_tensors(parameters: Iterable[nn.Parameter], *, main: bool) -> dict[int, Tensor]:
    """id of each parameter, of those that DeepSpeed holds -> it, whole and by itself.

    All processes call this at once; on other processes than the main one there is nothing of use.
    """
    from deepspeed.runtime.zero.partition_parameters import GatheredParameters

    found = {}
    for parameter in parameters:
        with GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
            whole = parameter.detach()
            found[id(parameter)] = whole.to("cpu", copy=True) if main else whole.new_empty(0)
    return found


def _config(stage: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 1,  # asked for, and only counted with
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "communication_data_type": "fp32",
        "zero_optimization": {
            "stage": stage,
            "reduce_bucket_size": BUCKET,
            "allgather_bucket_size": BUCKET,
            "stage3_prefetch_bucket_size": BUCKET,
            "stage3_max_live_parameters": LIVE,
            "stage3_max_reuse_distance": BUCKET,
            "stage3_param_persistence_threshold": WHOLE_BELOW,
        },
    }
