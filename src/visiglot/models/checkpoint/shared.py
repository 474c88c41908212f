"""Parts that several models have in common, kept once: `parts.json` says in whose folder such a part's weights lie.

    {"vision": {"folder": "../english", "file": "model.safetensors", "sha256": "…"}, "language_model": {…}}

A folder is relative to the one that `parts.json` lies in. What lies elsewhere isn't in the folder's own weights; a
connector and low-rank layers always are. The file's hash is compared at each reading, which costs 10 ms for 17 MB, so a
model never runs with a part that it wasn't trained with. Only folders share parts, not models of the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch
from safetensors import safe_open
from torch import Tensor

from visiglot.errors import CheckpointError
from visiglot.files import write_text
from visiglot.models.checkpoint import WEIGHTS, reading, some
from visiglot.models.checkpoint.packed import unpack

PARTS = "parts.json"
SHOWN = 4
"""Names that an error tells of many."""
SHAREABLE = ("vision", "language_model")
_AGAIN = "Both folders belong together: fetch or write them again, both of them."


@dataclass(frozen=True)
class SharedPart:
    """A part whose weights lie in another model's file.

    Args:
        name: "vision" or "language_model".
        model: folder of the model that shares it.
        file: the other model's weights.
        sha256: of that file, when the part was shared.
    """

    name: str
    model: Path
    file: Path
    sha256: str

    @property
    def prefix(self) -> str:
        """What the names of its tensors start with."""
        return f"{self.name}."


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedPart:
    """A part that is another model's, see `visiglot.models.checkpoint.named`.

    Args:
        name: "vision" or "language_model".
        model: folder of the model that names it.
        source: the other model's name.
        sha256: of the other model's weights.
    """

    name: str
    model: Path
    source: str
    sha256: str

    @property
    def prefix(self) -> str:
        """What the names of its tensors start with."""
        return f"{self.name}."


def shared_parts(where: str | os.PathLike[str]) -> tuple[SharedPart | NamedPart, ...]:
    """The parts of a model that lie in other folders, or are those of models that it names; none for a hub id.

    Raises:
        CheckpointError: `parts.json` can't be read or says something else.
    """
    folder = Path(where)
    path = folder / PARTS
    if not path.is_file():
        return ()
    with reading(str(path), hint=_AGAIN):
        values = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_part(folder, path, name, row) for name, row in values.items())


def _part(folder: Path, path: Path, name: str, row: Mapping[str, str]) -> SharedPart | NamedPart:
    if name in SHAREABLE and set(row) == {"from", "sha256"}:
        return NamedPart(name, folder, row["from"], row["sha256"])
    if name not in SHAREABLE or set(row) != {"folder", "file", "sha256"}:
        raise CheckpointError(
            f"{path}: {name!r} with {', '.join(sorted(row)) or 'nothing'} is no shared part",
            hint=f"A part is {' or '.join(SHAREABLE)}, and has folder, file and sha256, or from and sha256.",
        )
    if PurePath(row["folder"]).is_absolute() or PurePath(row["file"]).name != row["file"]:
        raise CheckpointError(
            f"{path}: {name!r} lies in {row['folder']!r}, {row['file']!r}",
            hint="The folder is relative to this one, the file a name in it.",
        )
    return SharedPart(name, folder, Path(os.path.normpath(folder / row["folder"] / row["file"])), row["sha256"])


def read_shared_part(part: SharedPart, own: Collection[str]) -> dict[str, Tensor]:
    """A shared part's tensors, under the names that they have in the model which shares it.

    Where that model has low-rank layers around a layer X, the other's `X.weight` is its `X.base_layer.weight`.

    Args:
        own: names of all tensors in the model's own weights.

    Raises:
        CheckpointError: the file is missing, isn't the one that was shared, lacks the part, or holds a tensor that is
            among the model's own too.
    """
    _check_file(part)
    with reading(str(part.file), hint=_AGAIN), safe_open(part.file, framework="pt") as opened:
        found = unpack({key: opened.get_tensor(key) for key in list(opened.keys()) if key.startswith(part.prefix)})
    tensors = {name: found[key] for key, name in names_in(part.prefix, found, own).items()}
    if not tensors:
        raise CheckpointError(f"{part.file} holds no weights below {part.prefix!r}", hint=_AGAIN)
    twice = sorted(set(tensors) & set(own))
    if twice:
        raise CheckpointError(
            f"{part.model}: {some(twice, SHOWN)} in its own weights and in {part.file} too",
            hint="Take them out of the one or the other; a weight is read from one place.",
        )
    return tensors


def _check_file(part: SharedPart) -> None:
    try:
        found = sha256_of(part.file)
    except OSError as error:
        raise CheckpointError(
            f"{part.model}: its {part.name} lies in {part.file}, which can't be read: {error.strerror or error}",
            hint="Put that folder back where it was beside this one, or fetch both again.",
        ) from error
    if found != part.sha256:
        raise CheckpointError(
            f"{part.model}: its {part.name} lies in {part.file}, which has changed "
            f"(sha256 {found[:12]}…, {part.sha256[:12]}… was shared)",
            hint=_AGAIN,
        )


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names_in(prefix: str, keys: Collection[str], own: Collection[str]) -> dict[str, str]:
    """Names below `prefix` in the other model -> names in the model whose own tensors are `own`."""
    adapted = {name.partition(".lora_A.")[0] for name in own if ".lora_A." in name}
    names = {}
    for key in keys:
        if key.startswith(prefix):
            module, _, last = key.rpartition(".")
            names[key] = f"{module}.base_layer.{last}" if module in adapted else key
    return names


# --- writing ---------------------------------------------------------------------------------------------------------


def write_parts(folder: Path, others: Mapping[str, Path]) -> None:
    """Write the `parts.json` of a model without the parts that the models in `others` keep.

    Raises:
        CheckpointError: another model's weights can't be read, or the file can't be written.
    """
    described = {}
    for part, other in others.items():
        assert part in SHAREABLE, part
        with reading(str(other / WEIGHTS), hint=_AGAIN):
            sha256 = sha256_of(other / WEIGHTS)
        relative = PurePath(os.path.relpath(other, folder)).as_posix()
        described[part] = {"folder": relative, "file": WEIGHTS, "sha256": sha256}
    write_text(json.dumps(described, indent=1) + "\n", folder / PARTS, error=CheckpointError)


def common_names(part: str, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of a part's tensors in the other model -> their names in this one, when all of them are equal.

    Raises:
        CheckpointError: some differ or are missing here, or the other model has no such part.
    """
    names = names_in(f"{part}.", theirs, own)
    differing = sorted(
        name
        for key, name in names.items()
        if name not in own or own[name].dtype != theirs[key].dtype or not torch.equal(own[name], theirs[key])
    )
    if differing or not names:
        raise CheckpointError(
            some(differing, SHOWN) or f"there are no weights below '{part}.'",
            hint="Share a part with the very model that it was taken from, while it is frozen.",
        )
    return names
