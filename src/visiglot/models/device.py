"""Which device a name means."""

from __future__ import annotations

import re

import torch

from visiglot.errors import ModelError


def pick_device(name: str) -> torch.device:
    """auto (a GPU if there is one), cpu, cuda or cuda:<n> -> a device.

    Raises:
        ModelError: there is no such device, or it can't be used.
    """
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name) is None:
        raise ModelError(f"no such device: {name!r}", hint="Use auto, cpu, cuda or cuda:<n>.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ModelError(
            f"device {name}: PyTorch sees {count} CUDA device(s)",
            hint="Use --device cpu or auto, or see `visiglot doctor`.",
        )
    try:
        torch.empty(0, device=device)
    except RuntimeError as error:
        raise ModelError(
            f"device {name} can't be used: {error}", hint="Use --device cpu, or see `visiglot doctor`."
        ) from error
    return device
