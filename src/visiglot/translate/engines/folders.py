"""Translation models of the hub and on disk: where they are, under which licence, and what their content is."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiglot.data.index_files import index_folder
from visiglot.data.licences import engine_licence
from visiglot.errors import TranslationError

UNKNOWN = "unknown"
"""Licence of what states none; it counts as one that forbids commercial use."""

_KINDS = ("*.json", "*.txt", "*.model", "*.spm")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT"}


@dataclass(frozen=True, slots=True)
class Located:
    """A model on disk.

    Args:
        name: what provenance records.
        files: weights, configs and the tokenizer's files.
        converted: whether it is in CTranslate2's format.
    """

    name: str
    folder: Path
    licence: str
    files: tuple[Path, ...]
    converted: bool


def locate(model: str, name: str | None = None, licence: str | None = None) -> Located:
    """Find a model, and fetch it where it is one of the hub.

    Args:
        model: a folder or a hub id.
        name: default: the hub id, or the folder's name.
        licence: default: what is known of the name, else what the model's card says, else "unknown".

    Raises:
        TranslationError: there is no such model, or it can't be fetched.
    """
    from visiglot.models.runs import HUB_ID

    folder = Path(model).expanduser()
    if not folder.is_dir():
        if HUB_ID.match(model) is None:
            raise TranslationError(f"no model {model!r}: it is no folder and no hub id")
        folder = _fetch(model)
    converted = (folder / "model.bin").is_file()
    name = name or (folder.resolve().name if Path(model).expanduser().is_dir() else model)
    files = [path for kind in _KINDS for path in folder.glob(kind)]
    weights = (list(folder.glob(kind)) for kind in (("model.bin",) if converted else _WEIGHTS))
    found = next((paths for paths in weights if paths), None)
    if found is None or not (folder / "config.json").is_file():
        raise TranslationError(
            f"{model}: {folder} has no {'weights' if found is None else 'config.json'}",
            hint="Name a folder that save_pretrained or CTranslate2's converter wrote.",
        )
    licence = licence or engine_licence(name) or _of_card(folder / "README.md") or UNKNOWN
    return Located(name, folder, licence, tuple(sorted([*files, *found])), converted)


def content_hash(located: Located) -> str:
    """Hash of all its files, which doesn't depend on where they lie. Taken once; the cache keeps it."""

    def build(folder: Path) -> None:
        total = hashlib.sha256()
        for path in located.files:
            with path.open("rb") as file:
                total.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        (folder / "sha256").write_text(total.hexdigest(), encoding="utf-8")

    folder = index_folder(f"the model {located.name}", located.files, {"what": "hash of a translation model"}, build)
    return (folder / "sha256").read_text(encoding="utf-8")


def load_tokenizer(folder: Path | str, name: str) -> Any:
    """The Hugging Face tokenizer of a model.

    Raises:
        TranslationError: it can't be loaded.
    """
    from transformers import AutoTokenizer

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*sacremoses")  # which MarianTokenizer names and doesn't use
            return AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise TranslationError(
            f"{name}: no tokenizer can be loaded from {folder}: {_first_line(error)}",
            hint="A folder that CTranslate2's converter wrote needs the model's tokenizer too: copy its files there, "
            "or name it with the option `tokenizer`.",
        ) from error


def failed(what: str, error: BaseException, hint: str | None = None) -> TranslationError:
    """The error that says in a line what another library said."""
    return TranslationError(f"{what}: {_first_line(error)}", hint=hint)


def _fetch(model: str) -> Path:
    from huggingface_hub import snapshot_download

    folder = None
    for weights in _WEIGHTS:
        try:
            folder = Path(snapshot_download(model, allow_patterns=[*_KINDS, "README.md", weights]))
        except Exception as error:  # the hub's client changes its HTTP library, and with it what a broken line raises
            raise failed(
                f"{model} can't be fetched from the hub", error, "Check the id and the network, or name a folder."
            ) from error
        if list(folder.glob(weights)):
            break
    assert folder is not None
    return folder


def _of_card(path: Path) -> str | None:
    """The licence in the metadata of a model card, as SPDX writes it where that is sure."""
    import yaml

    try:
        _, metadata, _ = path.read_text(encoding="utf-8").split("---", 2)
        stated = yaml.safe_load(metadata)["license"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    text = str(stated)
    return text.upper() if text.startswith("cc-") else _SPDX.get(text, text)


def _first_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
