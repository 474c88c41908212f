"""Formats of whole vision-language models, seen as ours: one row a format, `FORMATS` is the table.

A format says which `config.json` it is, what our config of such a model is, what its tensors are called here, and how
its processor is made. Weights are found by name and read later, so that one part of a model costs only that part.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import is_offline_mode

from visiglot.errors import CheckpointError
from visiglot.models.checkpoint import OFFLINE, reading
from visiglot.models.checkpoint.weights import Weights, absent, fetch, find_weights, is_weights_file, refuse_absent
from visiglot.models.config import VisiglotConfig
from visiglot.models.processor import VisiglotProcessor
from visiglot.registry import Registry

HOW_PARTS = (
    "Name the parts of the model in a YAML file: vision.from, connector.from, language_model.from, and "
    "language_model.adapter for low-rank layers; then give that file as the model."
)


OURS = "visiglot"
"""Key in the config of an exported model below which it says what its format has no place for."""
KEPT = ("languages", "caption_prompt", "image_first", "image_gap", "max_length", "template", "pivot")
"""What stands there for our config."""
SPOKEN = ("bos_after_images", "whole_turns")
"""What stands there for our processor."""


class Format(ABC):
    """How models of one format become ours."""

    unused: ClassVar[tuple[str, ...]] = ()
    """Regular expressions of tensors that old versions wrote and nothing needs; every other one must fit somewhere."""
    settles_generation: ClassVar[bool] = False
    """Whether the folder's generation_config.json is about the LLM; else the LLM's own config is what counts."""

    @abstractmethod
    def reads(self, raw: Mapping[str, Any]) -> bool:
        """Whether `raw`, a config.json, is of this format."""

    @abstractmethod
    def config(self, raw: Mapping[str, Any], where: str) -> VisiglotConfig:
        """Our config of such a model. Raises CheckpointError when it has something that ours can't do."""

    @abstractmethod
    def name(self, key: str) -> str | None:
        """The name here of the tensor that the file calls `key`; None when no part of ours holds it."""

    def leaves_out(self, key: str) -> bool:
        """Whether nothing needs the tensor that the file calls `key`."""
        return any(re.search(pattern, key) for pattern in self.unused)

    def own_name(self, key: str) -> str | None:
        """`name`, but None also for what nothing needs."""
        return None if self.leaves_out(key) else self.name(key)

    def image_processor(self, where: str, config: VisiglotConfig) -> Any:
        """The preprocessing alone. Raises CheckpointError."""
        return self.processor(where, config).image_processor

    @abstractmethod
    def processor(self, where: str, config: VisiglotConfig) -> VisiglotProcessor:
        """The processor. Raises CheckpointError."""


FORMATS: Registry[Format] = Registry(
    "checkpoint format",
    modules=(
        "visiglot.models.checkpoint.visiglot",
        "visiglot.models.checkpoint.blip2",
        "visiglot.models.checkpoint.llava",
        "visiglot.models.checkpoint.parrot",
    ),
)


@dataclass(frozen=True)
class Opened:
    """A whole model whose weights aren't read yet.

    Args:
        where: folder or hub id.
        kind: its name in the table of formats.
        format: that row.
        config: ours.
        spoken: attributes of the processor that its format has no place for.
    """

    where: str
    kind: str
    format: Format
    config: VisiglotConfig
    spoken: Mapping[str, Any] = field(default_factory=dict)

    def weights(self) -> tuple[Weights, list[str], list[str]]:
        """Its tensors under our names, the names of those left out as unused, and of those that fit nowhere."""
        found = find_weights(self.where)
        unused = [key for key in found if self.format.leaves_out(key)]
        unknown = [key for key in found if key not in unused and self.format.name(key) is None]
        return found.renamed(self.format.own_name), unused, unknown

    def processor(self) -> VisiglotProcessor:
        """Raises CheckpointError."""
        processor = self.format.processor(self.where, self.config)
        for key, value in self.spoken.items():
            setattr(processor, key, value)
        return processor


def open_model(where: str) -> Opened | None:
    """A whole vision-language model, ours or one of the formats; None when it is a single part (an encoder, an LLM).

    Raises:
        CheckpointError: there is no config, or it describes a model that ours can't be.
    """
    raw = read_config(where)
    for name, row in FORMATS.items():
        if row.reads(raw):
            with reading(f"{where}: its config"):
                config = row.config(raw, where)
                said = raw.get(OURS) or {}
                for key in KEPT:
                    if key in said:
                        setattr(config, key, said[key])
                return Opened(where, name, row, config, {key: said[key] for key in SPOKEN if key in said})
    return None


def read_config(where: str) -> dict[str, Any]:
    """The values of a folder's or hub id's config.json. Raises CheckpointError."""
    if is_weights_file(where):
        raise CheckpointError(f"{where} is one file of weights, without the config of a model", hint=HOW_PARTS)
    refuse_absent(where)
    path = fetch(where, "config.json")
    if path is None and fetch(where, "adapter_config.json") is not None:
        raise CheckpointError(f"{where} is an adapter, without the model that it adapts", hint=HOW_PARTS)
    if path is None and is_offline_mode() and not Path(where).is_dir():
        raise absent(where, "the hub isn't asked in offline mode (HF_HUB_OFFLINE)")
    if path is None:
        raise CheckpointError(f"{where}: its config can't be read: there is no config.json", hint=OFFLINE)
    with reading(f"{where}: its config"):
        raw = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds a {type(raw).__name__}, not a config", hint="Fetch the model again.")
    return raw
