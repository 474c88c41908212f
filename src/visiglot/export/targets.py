"""What a model can be exported to: one small class a target, in one table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from visiglot.errors import ModelError
from visiglot.registry import Registry
from visiglot.types import Template

ANY = "visiglot"
"""The target that takes every model."""


class Target(ABC):
    """A class that others load a model with, and what of ours fits it."""

    name: ClassVar[str]
    module: ClassVar[str]
    """Where its classes are imported from."""
    model_class: ClassVar[str]
    processor_class: ClassVar[str]
    library: ClassVar[str]
    """As the Hugging Face hub calls it."""
    cite: ClassVar[tuple[str, ...]] = ()
    """Keys of recipes/citations.toml."""
    forms: ClassVar[tuple[str, ...]]
    """Names of `visiglot.export.gate.FORMS` that it may be asked in."""
    looks_up_image_token: ClassVar[bool] = True
    """Whether the placeholder must have a row in the embedding, since the class looks it up before replacing it."""

    @abstractmethod
    def obstacles(self, config: Any) -> list[str]:
        """What in a `VisiglotConfig` the class has no place for, a sentence each; empty when everything fits.

        Nothing is loaded. Low-rank layers don't count: they are merged.
        """

    @abstractmethod
    def words(self, template: Template, before: str, after: str) -> tuple[str, str]:
        """The words before and after the picture of a user's turn, as its processor must be given them."""

    @abstractmethod
    def processor(self, model: Any, processor: Any) -> Any:
        """Its processor, from ours. Raises ModelError when the tokenizer can't do what it needs."""

    @abstractmethod
    def write(self, model: Any, processor: Any, folder: Path) -> None:
        """Write a merged model, which has its own processor, and the target's into an empty folder.

        Raises:
            ModelError: a weight has no place in the class.
            CheckpointError: the files can't be written.
        """


TARGETS: Registry[Target] = Registry(
    "export target",
    modules=("visiglot.export.blip2", "visiglot.export.llava", "visiglot.export.own"),
)


def refuse_obstacles(target: Target, config: Any) -> None:
    """Raise ModelError when a model of this config doesn't fit a target, with every obstacle."""
    found = target.obstacles(config)
    if found:
        raise ModelError(
            f"the model doesn't fit {target.model_class} (--to {target.name}):\n  " + "\n  ".join(found),
            hint=f"{_fitting(config, target)} `--to {ANY}` takes every model.",
        )


def _fitting(config: Any, refused: Target) -> str:
    others = [name for name, one in TARGETS.items() if name not in (ANY, refused.name) and not one.obstacles(config)]
    return f"It fits `--to {' and '.join(others)}`." if others else "It fits no other stock class."
