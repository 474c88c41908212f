"""Where a run computes and in which number format; the rest is accelerate's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from visiglot.errors import MissingExtraError, TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator


def build_accelerator(precision: Literal["fp32", "bf16", "auto"], device: str) -> Accelerator:
    """The accelerator of this process; launched by `accelerate launch`, one of many.

    Args:
        precision: `auto` is bf16 autocast where the hardware multiplies bf16, else fp32. Weights are fp32 either way.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        MissingExtraError: accelerate isn't installed.
        TrainingError: there is no such device.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise MissingExtraError("accelerate, which training runs on,", "train") from error

    on_gpu = _select(device)
    bf16 = precision == "bf16" or (precision == "auto" and has_fast_bf16(on_gpu))
    # A second run in one process may differ in precision; accelerate keeps the first one's for good otherwise.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=not on_gpu,
        mixed_precision="bf16" if bf16 else "no",
        # a batch of text-only rows leaves the connector without gradient
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _select(device: str) -> bool:
    """Whether to run on a GPU; makes `cuda:<n>` the current one."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise TrainingError(f"no such device: {device!r}", hint="Use auto, cpu, cuda or cuda:<n>.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= count:
        raise TrainingError(f"device {device}: PyTorch sees {count} CUDA device(s)", hint="Use --device cpu or auto.")
    if kind == "cuda" and number:
        torch.cuda.set_device(int(number))
    return kind == "cuda" or (kind == "auto" and count > 0)


def has_fast_bf16(on_gpu: bool) -> bool:
    """Whether bf16 is multiplied in hardware: CUDA 8.0 and later, CPUs with AVX512-BF16 or AMX."""
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    if not flags.is_file():
        return False
    words = set(flags.read_text(encoding="utf-8", errors="replace").split())
    return bool(words & {"avx512_bf16", "amx_bf16"})
