"""Where a run computes and in which number format; the rest is accelerate's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from visiglot.errors import MissingExtraError
from visiglot.models.device import pick_device

if TYPE_CHECKING:
    from accelerate import Accelerator


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
        from accelerate import Accelerator, DistributedDataParallelKwargs
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
    return Accelerator(
        cpu=not on_gpu,
        mixed_precision="bf16" if bf16 else "no",
        # a batch of text-only rows leaves the connector without gradient
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
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
