"""Frozen parts that a checkpoint leaves out: `parts.json` names the model that they are from, and its files' hash.

    {"language_model": {"from": "bigscience/mt0-xl", "sha256": "…"}}

So a checkpoint of low-rank layers is as small as they are. What the checkpoint has itself (the layers, a pooler that
the encoder's release lacks) counts, all else is read from there. The hash is compared at each reading, so that low-rank
layers never run on weights that they weren't trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from visiglot.errors import CheckpointError
from visiglot.files import write_text
from visiglot.models.checkpoint import reading
from visiglot.models.checkpoint.formats import open_model
from visiglot.models.checkpoint.shared import PARTS, NamedPart, names_in, sha256_of, shared_parts
from visiglot.models.checkpoint.stock import MAY_BE_NEW, load_config, load_stock
from visiglot.models.checkpoint.tensors import part_of
from visiglot.models.checkpoint.weights import find_weights, is_weights_file
from visiglot.models.language_model import llm_class
from visiglot.models.runs import resolve_model, shipped_model
from visiglot.models.vision import encoder_class


def named_source(name: str) -> str:
    """A name that leads to the same model tomorrow: a hub id, a model of the package, or the absolute path of a folder.

    Raises:
        CheckpointError: there is no such model.
    """
    where = resolve_model(name)
    if str(shipped_model(name)) == where or not Path(where).exists():
        return name
    return str(Path(where).resolve())


def hash_weights(where: str) -> str:
    """Hex SHA-256 over the names and bytes of a model's files of weights, and of what it shares with other models.

    Raises:
        CheckpointError: a file is missing.
    """
    files = {stored.file.name: stored.file.path for stored in find_weights(where).names.values()}
    told = hashlib.sha256()
    with reading(f"{where}: its weights"):
        for name, path in sorted(files.items()):
            told.update(f"{name} {sha256_of(path())}\n".encode())
        for part in shared_parts(where):
            told.update(f"{part.name} {part.sha256}\n".encode())
    return told.hexdigest()


def read_named_part(part: NamedPart, own: Collection[str]) -> dict[str, Tensor]:
    """A part's tensors from the model that it was taken from, under the names that they have in the one which names it.

    Args:
        own: names of all tensors in the naming model's own weights; those aren't read.

    Raises:
        CheckpointError: there is no such model, or its weights have changed.
    """
    where = resolve_model(part.source)
    found = hash_weights(where)
    if found != part.sha256:
        raise CheckpointError(
            f"{part.model}: its {part.name} is that of {part.source}, whose weights have changed "
            f"(sha256 {found[:12]}…, it was trained on {part.sha256[:12]}…)",
            hint=f"Put the weights of {part.source} back that the run was trained on.",
        )
    tensors = _tensors(part, where)
    return {name: tensors[key] for key, name in names_in(part.prefix, tensors, own).items() if name not in own}


def _tensors(part: NamedPart, where: str) -> dict[str, Tensor]:
    if is_weights_file(where) or open_model(where) is not None:
        held = part_of(where, part.prefix)
        return {f"{part.prefix}{key}": one if isinstance(one, Tensor) else one.read() for key, one in held.items()}
    config = load_config(where)
    if part.name == "vision":
        inner = config.to_dict().get("vision_config") and config.vision_config
        module, prefix = load_stock(encoder_class(inner or config), where, inner)[0], f"{part.prefix}model."
    else:
        module, prefix = load_stock(llm_class(config), where)[0], part.prefix
    return {f"{prefix}{key}": one for key, one in module.state_dict().items()}


def is_named(name: str, parts: Collection[str]) -> bool:
    """Whether the tensor `name` of a model is left out when its `parts` are named: low-rank layers aren't."""
    part, _, rest = name.partition(".")
    return part in parts and ".lora_" not in rest and not any(head in rest for head in MAY_BE_NEW)


def write_named(folder: Path, parts: Mapping[str, tuple[str, str]]) -> None:
    """Write the `parts.json` of a model without the parts of other models.

    Args:
        parts: part -> (name of the model, hash of its weights).

    Raises:
        CheckpointError: it can't be written.
    """
    described = {part: {"from": source, "sha256": sha256} for part, (source, sha256) in parts.items()}
    write_text(json.dumps(described, indent=1) + "\n", folder / PARTS, error=CheckpointError)
