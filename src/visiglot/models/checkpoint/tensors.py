"""Single tensors of a checkpoint, from a folder or the hub, and how they get into a module."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors import safe_open
from torch import Tensor, nn

from visiglot.errors import CheckpointError
from visiglot.models.checkpoint import OFFLINE, WEIGHTS, reading
from visiglot.models.checkpoint.packed import PACKED, unpack
from visiglot.models.checkpoint.shared import read_shared_part, shared_parts

INDEX = f"{WEIGHTS}.index.json"


def load_tensors(where: str, prefix: str) -> dict[str, Tensor]:
    """Tensors of a model whose names start with `prefix` (taken off), reading only the files that hold them.

    Parts that a folder shares with others (see `visiglot.models.checkpoint.shared`) are read from there; matrices in 8
    bits (see `visiglot.models.checkpoint.packed`) are unpacked.

    Args:
        where: a folder or a hub id, of which only those files are fetched.

    Raises:
        CheckpointError: a file is missing or broken, a shared part isn't what was shared, or none of the tensors has
            the prefix.
    """
    tensors: dict[str, Tensor] = {}
    own: set[str] = set()
    with reading(f"{where}: its weights"):
        index = _file(where, INDEX)
        if index is not None:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted({file for key, file in weight_map.items() if key.startswith(prefix)})
        else:
            names = [WEIGHTS]
        for name in names:
            file = _file(where, name)
            if file is None:
                raise CheckpointError(f"{where}: its weights can't be read: there is no {name}", hint=OFFLINE)
            with safe_open(file, framework="pt") as opened:
                names_there = list(opened.keys())
                own.update(names_there)
                keys = [key for key in names_there if key.startswith(prefix)]
                tensors.update({key.removeprefix(prefix): opened.get_tensor(key) for key in keys})
    tensors = unpack(tensors)
    for part in shared_parts(where):
        if part.prefix.startswith(prefix) or prefix.startswith(part.prefix):
            found = read_shared_part(part, own)
            tensors.update({key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)})
    if not tensors:
        raise CheckpointError(f"{where} holds no weights below {prefix!r}")
    return tensors


def is_stock(where: str) -> bool:
    """Whether transformers itself can read all the weights of a folder: no part is shared, none is in 8 bits."""
    if shared_parts(where):
        return False
    file = Path(where) / WEIGHTS
    if not file.is_file():
        return True
    with reading(f"{where}: its weights"), safe_open(file, framework="pt") as opened:
        return PACKED not in (opened.metadata() or {})


def _file(where: str, name: str) -> Path | None:
    """The file `name` of a folder or a hub id; None when there is none, or none can be had without a network."""
    if Path(where).is_dir():
        path = Path(where) / name
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(where, name))
    except EntryNotFoundError:
        return None


def fill(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load every tensor; what is missing must share its storage with something loaded (a tied head).

    Raises:
        CheckpointError: something else is missing, unexpected, or of another shape.
    """
    try:
        result = module.load_state_dict(tensors, strict=False)  # both lists are checked below
    except RuntimeError as error:
        raise CheckpointError(f"{where}: weights of another shape: {error}") from error
    state = module.state_dict(keep_vars=True)
    filled = {state[key].data_ptr() for key in tensors if key in state}
    missing = [key for key in result.missing_keys if state[key].data_ptr() not in filled]
    refuse_misfits(where, missing, result.unexpected_keys)


def refuse_misfits(where: str, missing: list[str], unexpected: list[str]) -> None:
    """Raise CheckpointError when a checkpoint lacks weights or has some that fit nowhere."""
    if missing or unexpected:
        lines = [f"missing: {key}" for key in sorted(missing)] + [f"unexpected: {key}" for key in sorted(unexpected)]
        more = [f"and {len(lines) - 8} more"] if len(lines) > 8 else []
        raise CheckpointError(
            f"{where}: its weights don't fit:\n  " + "\n  ".join(lines[:8] + more),
            hint="The files are of another model, or incomplete: fetch or write the checkpoint again.",
        )
