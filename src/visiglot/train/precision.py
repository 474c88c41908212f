"""Where a run computes and in which number format, and in which it keeps what is frozen; the rest is accelerate's."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from visiglot.config import Recipe
from visiglot.errors import MissingExtraError
from visiglot.memory import release_memory
from visiglot.models.config import PARTS
from visiglot.models.device import pick_device
from visiglot.models.quantize import LOW_RANK
from visiglot.models.vlm import VisionLanguageModel

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = timedelta(minutes=30)
"""Longest wait for the others in an exchange, as while the main process writes a large checkpoint. It's PyTorch's own
but for NCCL, which has ten minutes."""


def build_accelerator(precision: Literal["fp32", "bf16", "auto"], device: str) -> Accelerator:
    """The accelerator of this process; launched by `accelerate launch`, one of many.

    Args:
        precision: `auto` is bf16 autocast where the hardware multiplies bf16, else fp32. Weights are fp32 either way.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        MissingExtraError: accelerate isn't installed.
        ModelError: there is no such device.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise MissingExtraError("accelerate, which training runs on,", "train") from error

    picked = pick_device(device)
    on_gpu = picked.type == "cuda"
    if on_gpu and picked.index is not None:
        torch.cuda.set_device(picked)
    bf16 = precision == "bf16" or (precision == "auto" and has_fast_bf16(on_gpu))
    # A second run in one process may differ in precision; accelerate keeps the first one's for good otherwise.
    AcceleratorState._reset_state()
    for name in ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"):  # what they do is done here, by train.sharding
        os.environ.pop(name, None)
    os.environ.setdefault("DS_ACCELERATOR", picked.type)  # else DeepSpeed, once imported, says on stdout what it found
    return Accelerator(
        cpu=not on_gpu,
        mixed_precision="bf16" if bf16 else "no",
        kwargs_handlers=[
            # a batch of text-only rows leaves the connector without gradient
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


def has_fast_bf16(on_gpu: bool) -> bool:
    """Whether bf16 is multiplied in hardware: CUDA 8.0 and later, CPUs with AVX512-BF16 or AMX."""
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    if not flags.is_file():
        return False
    words = set(flags.read_text(encoding="utf-8", errors="replace").split())
    return bool(words & {"avx512_bf16", "amx_bf16"})


# --- what is frozen ---------------------------------------------------------------------------------------------------


def frozen_matrices(recipe: Recipe, model: VisionLanguageModel) -> set[nn.Parameter]:
    """What may be kept in bf16 where products are made in it: autocast rounds it at each use, to the same numbers.

    These are the weights and biases of linear layers that no stage of the recipe trains. Not among them: low-rank
    layers, what an embedding holds too (a tied head), whose words would be rounded, and the first parameter of each
    part and of each model in it, whose format transformers takes for the model's. Nor are convolutions: encoders add
    positions in the format of the one that their patches come from.
    """
    trained = tuple(f"{path}." for stage in recipe.stages for path, part in stage.parts.items() if part.train == "full")
    models = [getattr(model, part) for part in PARTS]
    models += [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    apart = {next(one.parameters()) for one in models if any(True for _ in one.parameters())}
    apart |= {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    return {
        parameter
        for name, module in model.named_modules()
        if _is_rounded(module) and LOW_RANK.isdisjoint(name.split(".")) and not f"{name}.".startswith(trained)
        for parameter in module.parameters(recurse=False)
    } - apart


def _is_rounded(module: nn.Module) -> bool:
    """Whether autocast rounds a module's weights; attention of PyTorch's own reads those of its last layer itself."""
    return isinstance(module, nn.Linear | Conv1D) and not isinstance(module, NonDynamicallyQuantizableLinear)


def round_frozen(recipe: Recipe, model: VisionLanguageModel, accelerator: Accelerator) -> list[str]:
    """Keep what `frozen_matrices` gives in bf16, if the recipe asks for it, in place; a line about it."""
    if recipe.train.frozen != "bf16":
        return []
    if accelerator.mixed_precision != "bf16":
        return ["frozen weights stay in fp32, as the run computes in it"]
    matrices = frozen_matrices(recipe, model)
    for parameter in matrices:
        parameter.data = parameter.data.to(torch.bfloat16)
    release_memory()
    size = sum(parameter.nbytes for parameter in matrices) / 2**20
    return [f"frozen matrices in bf16: {len(matrices):,} tensors, {size:,.0f} MiB"]


def widen_frozen(recipe: Recipe, model: VisionLanguageModel) -> None:
    """Put what `round_frozen` rounded into fp32 again, in place, with the numbers that it has."""
    if recipe.train.frozen != "bf16":
        return
    for parameter in frozen_matrices(recipe, model):
        parameter.data = parameter.data.to(torch.float32)
