"""Single tensors of a checkpoint, from a folder or the hub, and how they get into a module."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from visiglot.errors import CheckpointError, UnknownNameError
from visiglot.models.checkpoint.formats import FORMATS, Opened, open_model, read_config
from visiglot.models.checkpoint.packed import unpack
from visiglot.models.checkpoint.shared import NamedPart, SharedPart, read_shared_part, shared_parts
from visiglot.models.checkpoint.weights import StoredTensor, find_weights, is_weights_file

LOOSE = "blip2"
"""The format whose names the tensors of a single file have."""
FP32_PARTS = ("vision", "connector")
"""Parts that may stay in float32 beside an LLM in fewer bits."""

HUB_OPTIONS = frozenset({"revision", "subfolder", "variant", "cache_dir", "weights_only", "use_safetensors"})


def part_of(where: str, prefix: str) -> Mapping[str, Tensor | StoredTensor]:
    """`load_tensors`, but of another format's model, and of a file of BLIP-2's tensors, the tensors aren't read yet."""
    if is_weights_file(where):
        part = find_weights(where).renamed(FORMATS.get(LOOSE).own_name).below(prefix)
    elif (opened := opened_model(where)).kind == "visiglot":
        return load_tensors(where, prefix)
    else:
        part = opened.weights()[0].below(prefix)
    if not part:
        raise CheckpointError(f"{where} holds no weights below {prefix!r}")
    return part.names


def load_tensors(where: str, prefix: str) -> dict[str, Tensor]:
    """Tensors of a vision-language model whose names here start with `prefix` (taken off), in memory.

    Only the files that hold them are read. Parts that a folder shares with others (see
    `visiglot.models.checkpoint.shared`) are read from there; matrices in 8 bits (see
    `visiglot.models.checkpoint.packed`) are unpacked.

    Args:
        where: a folder or a hub id of ours or of one of `FORMATS`, of which only those files are fetched.

    Raises:
        CheckpointError: it is no such model, a file is missing or broken, a shared part isn't what was shared, or none
            of the tensors has the prefix.
    """
    opened = opened_model(where)
    weights = opened.weights()[0]
    part = weights.below(prefix)
    tensors = unpack({name: part[name].read() for name in part})
    for shared in shared_parts(where):
        if shared.prefix.startswith(prefix) or prefix.startswith(shared.prefix):
            found = read_part(shared, set(weights))
            tensors.update({key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)})
    if not tensors:
        raise CheckpointError(f"{where} holds no weights below {prefix!r}")
    return tensors


def read_part(part: SharedPart | NamedPart, own: Collection[str]) -> dict[str, Tensor]:
    """A part's tensors from elsewhere, under the names of the model that has the `own` ones. Raises CheckpointError."""
    if isinstance(part, SharedPart):
        return read_shared_part(part, own)
    from visiglot.models.checkpoint.named import read_named_part  # which reads other models by what is in this file

    return read_named_part(part, own)


def opened_model(where: str) -> Opened:
    """A whole vision-language model, its weights not read yet.

    Raises:
        CheckpointError: there is none, or it is of no format that can be read.
    """
    opened = open_model(where)
    if opened is None:
        kind = read_config(where).get("model_type")
        raise CheckpointError(
            f"{where} is a {kind!r} model, none of the vision-language models that can be loaded "
            f"({', '.join(FORMATS.names())})",
            hint="Name its parts in a recipe (model.vision.from, model.language_model.from) and train a connector.",
        )
    return opened


def own_state(opened: Opened) -> Mapping[str, Tensor | StoredTensor]:
    """All tensors of a model of ours: unread where its own files hold them as they are, else in memory.

    Raises:
        CheckpointError: see `load_tensors`.
    """
    weights = opened.weights()[0]
    files = {stored.file.name: stored.file for stored in weights.names.values()}
    is_plain = not shared_parts(opened.where) and not any(file.is_packed() for file in files.values())
    return weights.names if is_plain else load_tensors(opened.where, "")


def stored_dtype(state: Mapping[str, Tensor | StoredTensor]) -> torch.dtype:
    """The number format that most of a model's weights have: float32 or bfloat16.

    float16 is read as float32: T5's layers overflow in it.
    """
    sizes: dict[torch.dtype, int] = {}
    for value in state.values():
        if value.dtype.is_floating_point:
            sizes[value.dtype] = sizes.get(value.dtype, 0) + value.shape.numel()
    most = max(sizes, key=lambda dtype: sizes[dtype], default=torch.float32)
    return most if most == torch.bfloat16 else torch.float32


def fill(module: nn.Module, tensors: Mapping[str, Tensor | StoredTensor], where: str) -> None:
    """Copy every tensor into a module; what is missing must share its storage with something that was filled.

    Two names of one weight in the module (a tied head) may come with different numbers: the head then gets a weight of
    its own, as in mT0, whose config calls it tied.

    Raises:
        CheckpointError: something else is missing, unexpected, or of another shape.
    """
    own_heads(module, tensors)
    state = module.state_dict(keep_vars=True)
    fill_some(module, {key: value for key, value in tensors.items() if key in state}, where)
    filled = {state[key].data_ptr() for key in tensors if key in state}
    missing = [key for key, value in state.items() if key not in tensors and value.data_ptr() not in filled]
    refuse_misfits(where, missing, [key for key in tensors if key not in state])


@torch.no_grad()
def fill_some(module: nn.Module, tensors: Mapping[str, Tensor | StoredTensor], where: str) -> None:
    """Copy tensors that a module has into it, one at a time; the rest stays. Raises CheckpointError: another shape."""
    state = module.state_dict(keep_vars=True)
    for key, value in tensors.items():
        if value.shape != state[key].shape:
            raise CheckpointError(
                f"{where}: weights of another shape: {key} is {list(value.shape)} there, {list(state[key].shape)} here",
                hint="The files are of another model: check the name and the options of its parts.",
            )
        if isinstance(value, Tensor):
            state[key].copy_(value)
        else:
            value.read_into(state[key])


def own_heads(module: nn.Module, tensors: Mapping[str, Tensor | StoredTensor]) -> None:
    """Give a weight of its own to each name that shares its storage with another but comes with other numbers."""
    state = module.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    for key, value in state.items():
        if key not in tensors or not isinstance(value, nn.Parameter):
            continue
        source = first.setdefault(value.data_ptr(), key)
        if source == key or _equal(tensors[source], tensors[key]):
            continue
        owner, _, last = key.rpartition(".")
        setattr(module.get_submodule(owner), last, nn.Parameter(torch.empty_like(value), value.requires_grad))


def _equal(one: Tensor | StoredTensor, other: Tensor | StoredTensor) -> bool:
    if isinstance(one, StoredTensor) and isinstance(other, StoredTensor):
        return one.equals(other)
    return torch.equal(*(value if isinstance(value, Tensor) else value.read() for value in (one, other)))


def check_fp32_parts(parts: Iterable[str]) -> None:
    """Raise UnknownNameError for a part that can't stay in float32 by itself."""
    for part in parts:
        if part not in FP32_PARTS:
            raise UnknownNameError("part", part, FP32_PARTS)


def refuse_hub_options(given: Mapping[str, Any]) -> None:
    """Raise CheckpointError for what transformers takes to find files on the hub, and we don't."""
    named = sorted(HUB_OPTIONS & {key for key, value in given.items() if value is not None})
    if named:
        raise CheckpointError(
            f"{', '.join(named)}: not among what can be said of a model on the hub; its main branch is read",
            hint="Fetch another branch with huggingface_hub.snapshot_download, and load the folder.",
        )


def refuse_other_shapes(where: str, mismatched: Iterable[tuple[str, torch.Size, torch.Size]]) -> None:
    """Raise CheckpointError for the first of (name, shape there, shape here)."""
    for name, there, here in sorted(mismatched):
        raise CheckpointError(
            f"{where}: weights of another shape: {name} is {list(there)} there, {list(here)} here",
            hint="Its config and its weights aren't of one model: fetch or write both again.",
        )


def refuse_misfits(where: str, missing: list[str], unexpected: list[str]) -> None:
    """Raise CheckpointError when a checkpoint lacks weights or has some that fit nowhere."""
    if missing or unexpected:
        lines = [f"missing: {key}" for key in sorted(missing)] + [f"unexpected: {key}" for key in sorted(unexpected)]
        more = [f"and {len(lines) - 8} more"] if len(lines) > 8 else []
        raise CheckpointError(
            f"{where}: its weights don't fit:\n  " + "\n  ".join(lines[:8] + more),
            hint="The files are of another model, or incomplete: fetch or write the checkpoint again.",
        )
