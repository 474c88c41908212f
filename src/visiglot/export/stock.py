"""What targets of transformers share: their class on the meta device, and our tensors under its names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor

from visiglot.data.nano.prompts import caption_prompt
from visiglot.errors import CheckpointError, ModelError
from visiglot.export.prepare import generation_config
from visiglot.export.targets import Target
from visiglot.models.checkpoint import first_line
from visiglot.models.checkpoint.formats import KEPT, OURS, SPOKEN
from visiglot.models.vlm import VisionLanguageModel
from visiglot.types import Template

SHARD = "5GB"
"""Largest file of weights; what is bigger is cut up by transformers."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises while files are written into CheckpointError."""
    try:
        yield
    except Exception as error:  # OSError, and what safetensors and tokenizers make of one
        raise CheckpointError(
            f"{folder} can't be written: {first_line(error)}", hint="Make room, or name another --out."
        ) from error


class StockTarget(Target):
    """A vision-language class of transformers."""

    module: ClassVar[str] = "transformers"
    library: ClassVar[str] = "transformers"

    @abstractmethod
    def differences(self, config: Any) -> list[str]:
        """What the class does otherwise than a model of this config, a sentence each."""

    @abstractmethod
    def stock_config(self, config: Any) -> Any:
        """Its config. Raises whatever transformers raises when parts don't fit."""

    @abstractmethod
    def stock_name(self, name: str, model: VisionLanguageModel) -> str | None:
        """What it calls one of our tensors in memory; None when it has no place for it."""

    def obstacles(self, config: Any) -> list[str]:
        found = self.differences(config)
        return found or self._misfits(config)

    def words(self, template: Template, before: str, after: str) -> tuple[str, str]:
        first = template.start + template.before["user"]
        return first + before, after + template.after["user"] + template.before["assistant"]

    def write(self, model: Any, processor: Any, folder: Path) -> None:
        stock = self._empty(model.config)
        state, left = self._state(model)
        if left:
            raise ModelError(f"{self.model_class} has no place for {', '.join(left[:4])}")
        stock.load_state_dict(state, assign=True)
        stock.config.dtype = model.config.dtype
        setattr(stock.config, OURS, own_values(model))
        stock.generation_config = generation_config(model)
        with writing(folder):
            stock.save_pretrained(folder, max_shard_size=SHARD)
            processor.save_pretrained(folder)

    def _state(self, model: VisionLanguageModel) -> tuple[dict[str, Tensor], list[str]]:
        """Our tensors under the stock names, and the names of those that have none. Nothing is copied."""
        named = {name: self.stock_name(name, model) for name in model.state_dict()}
        state = {named[name]: tensor for name, tensor in model.state_dict().items() if named[name] is not None}
        return state, [name for name, theirs in named.items() if theirs is None]  # type: ignore[return-value]

    def _empty(self, config: Any) -> Any:
        """The class without weights."""
        with torch.device("meta"):
            return getattr(transformers, self.model_class)(self.stock_config(config))

    def _misfits(self, config: Any) -> list[str]:
        """What only shows when both are put together: names and shapes, on the meta device."""
        config = deepcopy(config)
        config.lora = None
        with torch.device("meta"):
            ours = VisionLanguageModel(config)
        try:
            stock = self._empty(config)
        except Exception as error:  # whatever a class of transformers raises at parts that it can't take
            return [f"transformers can't make a {self.model_class} of its parts: {first_line(error)}"]
        state, left = self._state(ours)
        return [*(f"has no place for {name}" for name in left[:1]), *_unlike(state, stock.state_dict())[:1]]


def own_values(model: VisionLanguageModel) -> dict[str, Any]:
    """What the formats have no place for, so that Visiglot loads an export as the model that it was."""
    config = model.config
    values = {key: getattr(config, key) for key in KEPT} | {key: getattr(model.processor, key) for key in SPOKEN}
    return values | {"caption_prompt": caption_prompt(config)}


def _unlike(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """Where two sets of tensors differ in names or shapes, a sentence each."""
    found = [f"it needs {name}, which the model lacks" for name in theirs.keys() - ours.keys()]
    found += [f"it has no {name}" for name in ours.keys() - theirs.keys()]
    found += [
        f"its {name} is {list(theirs[name].shape)}, the model's {list(ours[name].shape)}"
        for name in ours.keys() & theirs.keys()
        if ours[name].shape != theirs[name].shape
    ]
    return sorted(found)
