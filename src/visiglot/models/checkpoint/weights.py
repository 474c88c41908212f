"""The tensors of a checkpoint, found by name and read one at a time.

A checkpoint is a folder or a hub id (safetensors or pickled `.bin`, one file or shards with an index), or one file: a
`.safetensors`, a `.bin` state dict, a Lightning `.ckpt`. Pickles are read with `weights_only=True`, so that nothing in
them is ever run. Only the files that hold what is asked for are fetched and opened.

Memory: files are mapped, and let go whenever `WINDOW` bytes of them have been read, so that reading a model costs its
own size, one window, and what a tensor is converted from (by rows, a window at a time).
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from huggingface_hub import (
    _CACHED_NO_EXIST,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import safe_open
from torch import Tensor

from visiglot.config.model import WEIGHTS_FILES
from visiglot.errors import CheckpointError
from visiglot.models.checkpoint import OFFLINE, WEIGHTS, first_line, reading
from visiglot.models.checkpoint.packed import PACKED

WINDOW = 32 * 2**20
"""Bytes of a mapped file that are read before it is let go."""
PICKLED = "pytorch_model.bin"
WHOLE = "Fetch the whole model once with a network (huggingface_hub.snapshot_download), and name the folder."
AGAIN = "The file isn't whole, or not one of PyTorch's or safetensors': fetch it again."
_READING = Lock()
LIGHTNING = "model.model."
"""What mBLIP's Lightning module puts before the model's own names."""


@dataclass(frozen=True)
class Weights:
    """Names -> tensors on disk.

    Args:
        names: name of each tensor here -> where it lies.
    """

    names: Mapping[str, StoredTensor]

    def renamed(self, rename: Callable[[str], str | None]) -> Weights:
        """The tensors that `rename` gives a name, under it; the others are left out."""
        named = ((rename(name), stored) for name, stored in self.names.items())
        return Weights({name: stored for name, stored in named if name is not None})

    def below(self, prefix: str) -> Weights:
        """The tensors whose names start with `prefix`, which is taken off."""
        return self.renamed(lambda name: name.removeprefix(prefix) if name.startswith(prefix) else None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> StoredTensor:
        return self.names[name]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is still on disk.

    Args:
        file: the opened file that it lies in.
        name: its name there.
        dtype_read: number format that it is read as; None: as it is stored. Whole numbers stay what they are.
    """

    file: TensorFile
    name: str
    dtype_read: torch.dtype | None = None

    @property
    def shape(self) -> torch.Size:
        return self.file.look(self.name)[0]

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the tensor as it is read."""
        stored = self.file.look(self.name)[1]
        return self.dtype_read if self.dtype_read is not None and stored.is_floating_point else stored

    def read_as(self, dtype: torch.dtype | None) -> StoredTensor:
        """The same tensor, converted when it is read."""
        return StoredTensor(self.file, self.name, dtype)

    def read(self) -> Tensor:
        """The tensor in memory of its own. Raises CheckpointError."""
        with _READING:  # transformers asks from several threads, each of which would map a window of its own
            out = torch.empty(self.shape, dtype=self.dtype)
            self.read_into(out)
            return out

    def read_into(self, out: Tensor) -> None:
        """Fill `out`, which has the tensor's shape, converting. Raises CheckpointError."""
        for rows in self._windows():
            self.file.copy_rows(self.name, rows, out if rows is None else out[rows])

    def equals(self, other: StoredTensor) -> bool:
        """Whether both hold the same numbers, read a window at a time. Raises CheckpointError."""
        if self.shape != other.shape:
            return False
        for rows in self._windows():
            shape = self.shape if rows is None else (rows.stop - rows.start, *self.shape[1:])
            own, theirs = torch.empty(shape, dtype=self.dtype), torch.empty(shape, dtype=other.dtype)
            self.file.copy_rows(self.name, rows, own)
            other.file.copy_rows(other.name, rows, theirs)
            if not torch.equal(own, theirs):
                return False
        return True

    def _windows(self) -> Iterator[slice | None]:
        """Rows whose stored numbers fill a window; None for a tensor without rows."""
        if not self.shape:
            yield None
            return
        row = self.shape[1:].numel() * self.file.look(self.name)[1].itemsize
        step = max(1, WINDOW // max(1, row))
        for start in range(0, self.shape[0], step):
            yield slice(start, min(start + step, self.shape[0]))

    def __getitem__(self, index: Any) -> Tensor:
        """What transformers asks of a tensor that isn't loaded yet: `tensor[...]`."""
        return self.read()[index]


@dataclass
class TensorFile:
    """One file of tensors, opened when something of it is wanted."""

    where: str
    name: str
    path: Callable[[], Path]
    _lock: Lock = field(default_factory=Lock, repr=False)
    _open: Any = field(default=None, repr=False)
    _read: int = field(default=0, repr=False)
    _looks: dict[str, tuple[torch.Size, torch.dtype]] = field(default_factory=dict, repr=False)

    def keys(self) -> list[str]:
        """Names of all its tensors. Raises CheckpointError."""
        with self._lock:
            return sorted(self._opened().names)

    def look(self, name: str) -> tuple[torch.Size, torch.dtype]:
        """Shape and number format of a tensor, without reading it. Raises CheckpointError."""
        with self._lock:
            if name not in self._looks:
                opened = self._opened()
                if name not in opened.names:
                    raise CheckpointError(
                        f"{self.where}: {name} isn't in {self.name}, although the index says so",
                        hint="Index and shards aren't of one model: fetch them again.",
                    )
                self._looks[name] = opened.look(name)
            return self._looks[name]

    def is_packed(self) -> bool:
        """Whether it has matrices in 8 bits, see `visiglot.models.checkpoint.packed`. Raises CheckpointError."""
        with self._lock:
            return PACKED in self._opened().metadata()

    def copy_rows(self, name: str, rows: slice | None, out: Tensor) -> None:
        """Copy rows of a tensor into `out`, converting. Raises CheckpointError."""
        with self._lock, reading(f"{self.where}: {self.name}: {name}", hint=AGAIN):
            out.copy_(self._opened().rows(name, rows))
            self._read += out.numel() * max(out.element_size(), 4)
            if self._read >= WINDOW:
                self._open, self._read = None, 0

    def _opened(self) -> _SafeFile | _PickledFile:
        if self._open is None:
            with reading(f"{self.where}: {self.name}", hint=AGAIN):
                path = self.path()
                self._open = _SafeFile(path) if path.suffix == ".safetensors" else _PickledFile(path)
        opened: _SafeFile | _PickledFile = self._open
        return opened


class _SafeFile:
    def __init__(self, path: Path) -> None:
        self._file: Any = safe_open(path, framework="pt")

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self._file.keys())

    def metadata(self) -> Mapping[str, str]:
        return self._file.metadata() or {}

    def look(self, name: str) -> tuple[torch.Size, torch.dtype]:
        tensor = self._file.get_tensor(name)  # mapped: nothing is read
        return tensor.shape, tensor.dtype

    def rows(self, name: str, rows: slice | None) -> Tensor:
        tensor: Tensor = self._file.get_tensor(name)
        return tensor if rows is None else tensor[rows]


class _PickledFile:
    def __init__(self, path: Path) -> None:
        loaded = _unpickled(path)
        state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
        if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
            raise CheckpointError(
                f"{path} holds a {type(loaded).__name__} without tensors by name",
                hint="A state dict, or a Lightning checkpoint with one, is what can be read.",
            )
        self._tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        self.names = frozenset(self._tensors)

    def metadata(self) -> Mapping[str, str]:
        return {}

    def look(self, name: str) -> tuple[torch.Size, torch.dtype]:
        return self._tensors[name].shape, self._tensors[name].dtype

    def rows(self, name: str, rows: slice | None) -> Tensor:
        tensor = self._tensors[name]
        return tensor if rows is None else tensor[rows]


def _unpickled(path: Path) -> Any:
    """What a pickle of tensors holds, mapped where that is possible (since PyTorch 1.6). Raises CheckpointError."""
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "eights_only" not in str(error) and "Weights only" not in str(error):
            raise
        what = re.search(r"Unsupported (?:global|operand|class)[^.]*", str(error))
        raise CheckpointError(
            f"{path} holds more than tensors, and code from a checkpoint is never run"
            + (f": {' '.join(what[0].split())}" if what else ""),
            hint="Where you trust the file, write its state_dict alone into another with torch.save; if it should hold "
            "tensors only, it isn't whole: fetch it again.",
        ) from error


# --- where they lie --------------------------------------------------------------------------------------------------


def find_weights(where: str) -> Weights:
    """All tensors of a checkpoint, by the names that its files give them; none is read.

    Raises:
        CheckpointError: there are no weights, or a file of them is missing or broken.
    """
    if is_weights_file(where):
        path = Path(where).expanduser()
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}", hint="Check the path.")
        return Weights(_in_file(TensorFile(where, path.name, lambda: path)))
    for single in (WEIGHTS, PICKLED):
        index = fetch(where, f"{single}.index.json")
        if index is not None:
            with reading(f"{where}: {single}.index.json"):
                weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            shards = {name: _shard(where, name) for name in sorted(set(weight_map.values()))}
            return Weights({name: StoredTensor(shards[file], name) for name, file in weight_map.items()})
        found = fetch(where, single)
        if found is not None:
            return Weights(_in_file(_shard(where, single)))
    raise CheckpointError(
        f"{where}: its weights can't be read: there is neither {WEIGHTS} nor {PICKLED}, nor an index of either",
        hint=OFFLINE,
    )


def is_weights_file(where: str) -> bool:
    """Whether a name is that of one file of tensors rather than of a folder or a model."""
    return where.endswith(WEIGHTS_FILES) and not Path(where).is_dir()


def _in_file(file: TensorFile) -> dict[str, StoredTensor]:
    names = {name: StoredTensor(file, name) for name in file.keys()}  # noqa: SIM118 (a file, not a dict)
    if names and all(name.startswith(LIGHTNING) for name in names):
        return {name.removeprefix(LIGHTNING): stored for name, stored in names.items()}
    return names


def _shard(where: str, name: str) -> TensorFile:
    def path() -> Path:
        found = fetch(where, name)
        if found is None:
            raise CheckpointError(f"{where}: its weights can't be read: there is no {name}", hint=OFFLINE)
        return found

    if os.path.basename(name) != name:
        raise CheckpointError(f"{where}: its index names the file {name!r}", hint="Shards lie beside their index.")
    return TensorFile(where, name, path)


def refuse_absent(where: str) -> None:
    """Ask the hub once for a model that isn't on this machine; fetching it would ask again and again for a minute.

    Raises:
        CheckpointError: the hub has no such model, or can't be reached.
    """
    try:
        if Path(where).is_dir() or try_to_load_from_cache(where, "config.json") is not None:
            return
        get_hf_file_metadata(hf_hub_url(where, "config.json"))
    except (OfflineModeIsEnabled, EntryNotFoundError, GatedRepoError):
        return  # of these fetching says more, and at once
    except HFValidationError as error:
        raise absent(where, "it is no hub id") from error
    except RepositoryNotFoundError as error:
        raise absent(where, "the hub has none that you may read") from error
    except Exception as error:
        raise absent(where, f"the hub can't be reached ({first_line(error)})") from error


def absent(where: str, found: str) -> CheckpointError:
    """The error about a model that isn't on this machine. `found`: what became of asking the hub."""
    return CheckpointError(
        f"no model {where!r}: there is no folder and no run of that name, and {found}",
        hint=f"{OFFLINE} A run in the cache goes by its bare name.",
    )


def fetch(where: str, name: str, *, sure: bool = False) -> Path | None:
    """The file `name` of a folder or a hub id; None when there is none.

    Args:
        sure: None only when the model is known to have no such file: without a network, the cache may just lack it.

    Raises:
        CheckpointError: it can't be had.
    """
    if Path(where).is_dir():
        path = Path(where) / name
        return path if path.is_file() else None
    with reading(f"{where}: {name}"):
        try:
            return Path(hf_hub_download(where, name))
        except LocalEntryNotFoundError as error:
            if sure and try_to_load_from_cache(where, name) is not _CACHED_NO_EXIST:
                raise CheckpointError(
                    f"{where}: whether it has a {name} isn't known without a network", hint=WHOLE
                ) from error
            return None
        except EntryNotFoundError:
            return None
