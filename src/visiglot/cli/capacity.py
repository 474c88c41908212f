"""What a machine can serve: free memory, what a model takes of it in each number format, and the command for it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiglot.cli.console import counted

GIB = 2**30
RESERVE = GIB
"""Of the process itself and what a step needs beside weights and keys: PyTorch is 0.4 GiB."""

FORMATS: Mapping[str, tuple[str, ...]] = {
    "fp32": ("--dtype", "fp32"),
    "bf16": ("--dtype", "bf16"),
    "int8": ("--dtype", "bf16", "--quantize", "int8"),
    "nf4": ("--dtype", "bf16", "--quantize", "nf4"),
}
"""Number formats and the options that ask for them."""

QUANTIZED: Mapping[str, float] = {"int8": 1.0, "nf4": 0.5625}
"""Bytes of a weight of the LLM's linear layers; nf4 has a scale of 4 bytes for each 64 weights."""

LACKS = "lacks bitsandbytes: pip install 'visiglot[quantize]'"
"""Said of nf4 where it can't be run."""

BATCH_TOKENS = (16384, 8192, 4096, 2048, 1024)
"""Values of --max-batch-tokens that are proposed."""


@dataclass(frozen=True)
class Machine:
    """Where a model would be.

    Args:
        device: cpu, or cuda.
        free: bytes of memory that are free there.
        threads: of PyTorch.
        fast_bf16: whether bf16 is multiplied in hardware.
        nf4: whether the package is installed that nf4 runs on.
    """

    device: str
    free: int
    threads: int
    fast_bf16: bool
    nf4: bool = True

    def formats(self) -> list[str]:
        """Number formats, those first that are exact and fast here; of a model that fits in none, none is of use."""
        first = ["bf16", "int8"] if self.fast_bf16 else ["fp32", "int8", "bf16"]
        return [*first, "nf4"] if self.nf4 else first


@dataclass(frozen=True)
class Needs:
    """What a model takes.

    Args:
        parameters: all of them, low-rank layers too.
        linear: those of them in linear layers of the LLM, which can be quantised.
        numbers_per_token: keys and values of one token in all layers.
    """

    parameters: int
    linear: int
    numbers_per_token: int

    def weights(self, format_: str) -> int:
        """Bytes of the weights once they are loaded."""
        if format_ in QUANTIZED:
            return round(2 * (self.parameters - self.linear) + QUANTIZED[format_] * self.linear)
        return self.parameters * (4 if format_ == "fp32" else 2)

    def most(self, format_: str) -> int:
        """Bytes of the weights while they are loaded: they are quantised afterwards, layer by layer."""
        return max(self.weights(format_), self.parameters * (4 if format_ == "fp32" else 2))

    def tokens(self, format_: str, free: int) -> int | None:
        """The largest of BATCH_TOKENS that fits into `free` bytes beside the weights; None when none does."""
        if self.most(format_) + RESERVE > free:
            return None
        room = free - RESERVE - self.weights(format_)
        each = self.numbers_per_token * (4 if format_ == "fp32" else 2)
        return next((tokens for tokens in BATCH_TOKENS if tokens * each <= room), None)


def this_machine() -> Machine:
    """The machine as it is now. Imports torch."""
    from importlib.util import find_spec

    import torch

    from visiglot.train.precision import has_fast_bf16

    on_gpu = torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else free_memory()
    return Machine(
        "cuda" if on_gpu else "cpu",
        free,
        torch.get_num_threads(),
        has_fast_bf16(on_gpu),
        find_spec("bitsandbytes") is not None,
    )


def free_memory() -> int:
    """Bytes that a new process may use: what Linux says is available, less where a control group has a limit."""
    import os

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = _field(Path("/proc/meminfo"), "MemAvailable:")
    free = pages if found is None else found * 1024
    limit, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        inactive = _field(Path("/sys/fs/cgroup/memory.stat"), "inactive_file") or 0
        free = min(free, max(limit - used + inactive, 0))
    return free


def needs_of(name: str) -> Needs:
    """What the model of that name takes, by its config; no weight is read.

    Raises:
        CheckpointError: there is no such model, or it is of no known format.
    """
    import torch

    from visiglot.models.checkpoint.tensors import opened_model
    from visiglot.models.quantize import linear_layers
    from visiglot.models.runs import resolve_model
    from visiglot.models.vlm import VisionLanguageModel

    opened = opened_model(resolve_model(name))
    with torch.device("meta"):
        model = VisionLanguageModel(opened.config)
    llm = model.language_model
    linear = sum(_count(llm.get_submodule(layer)) for layer in linear_layers(llm))
    return Needs(_count(model), linear, _numbers_per_token(opened.config.get_text_config()))


def serving_facts(machine: Machine, name: str | None) -> Iterator[tuple[str, str]]:
    """Lines about serving: memory, what fits in each number format, and the command.

    Args:
        name: of a model; None: any.

    Raises:
        CheckpointError: see `needs_of`.
    """
    place = "on the GPU" if machine.device == "cuda" else "of RAM"
    yield "free memory", f"{machine.free / GIB:.1f} GiB {place}, {counted(machine.threads, 'thread')}"
    if name is None:
        room = max(machine.free - RESERVE, 0)
        for format_, each in (("fp32", 4), ("bf16", 2)):
            yield format_, f"models of up to {room / each / 1e9:.1f} billion parameters"
        without = "" if machine.nf4 else f"; nf4 {LACKS}"
        yield "int8, nf4", f"as bf16 while they are loaded; then about half of it, and a third{without}"
        yield "command", "visiglot serve nano"
        yield "a model", "`visiglot doctor MODEL` says what it takes, and the command for it"
        return
    needs = needs_of(name)
    yield "model", f"{name}: {needs.parameters / 1e6:,.1f} million parameters"
    for format_ in FORMATS:
        tokens = needs.tokens(format_, machine.free)
        fits = "doesn't fit" if tokens is None else f"fits, with {tokens:,} tokens of prompts and answers at a time"
        if format_ == "nf4" and tokens is not None and not machine.nf4:
            fits += f"; {LACKS}"
        most = needs.most(format_)
        loading = f" ({most / GIB:.2f} while it is loaded)" if most > needs.weights(format_) else ""
        yield format_, f"{needs.weights(format_) / GIB:.2f} GiB of weights{loading}: {fits}"
    yield "command", command_for(name, needs, machine) or "none: it doesn't fit in any of these"


def command_for(name: str, needs: Needs, machine: Machine) -> str | None:
    """How to serve a model on a machine; None when it doesn't fit."""
    for format_ in machine.formats():
        tokens = needs.tokens(format_, machine.free)
        if tokens is not None:
            words = ["visiglot", "serve", name, *FORMATS[format_], "--max-batch-tokens", str(tokens)]
            return shlex.join(words)
    return None


def _numbers_per_token(config: Any) -> int:
    """Keys and values of a token: of an encoder-decoder LLM those of its own decoder, or those that it reads."""
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or getattr(config, "d_kv", None) or config.hidden_size // heads
    layers = getattr(config, "num_decoder_layers", None) or config.num_hidden_layers
    return int(2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * size)


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no file, or no number ("max")."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _field(path: Path, name: str) -> int | None:
    """The number behind a name in a file of such lines."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(words[1]) for words in map(str.split, lines) if words[:1] == [name]), None)
