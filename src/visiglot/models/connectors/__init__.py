"""Connectors: from the encoder's features to tokens in the LLM's embedding space.

A new connector is one file that registers a `Connector` in `CONNECTORS`.

Shapes: I pictures, S image slots, R = S with a context and I without one, N patches of a view, V views of a picture, K
image tokens, Dv vision width, D LLM width, L text tokens.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from visiglot.errors import ModelError
from visiglot.models.connectors.memory import PhraseMemory
from visiglot.registry import Registry
from visiglot.types import TextContext, VisionFeatures


class Connector(nn.Module, ABC):
    """Base of all connectors.

    Args:
        vision_width: Dv.
        text_width: D.
    """

    needs_context: bool = False
    """Whether the image tokens depend on the prompt. If so, `forward` gets a context and answers one entry a slot."""
    reads_all_turns: bool = False
    """Whether such a context goes on behind the row's first answer, see `VisionLanguageModel.prompts_of`."""
    reads_tiles: bool = False
    """Whether it takes pictures that are seen in tiles (`VisionFeatures.tiles` > 1); each takes those seen whole."""
    can_bypass: ClassVar[tuple[str, ...]] = ()
    """Modules below it that a stage may leave out (`train: bypassed`): it has an option `bypassed`, and `bypass`."""
    bypassed: bool = False
    reading: ClassVar[tuple[str, ...]] = ()
    """Parameters and modules below it that `read` consists of."""

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__()
        self.vision_width = vision_width
        self.text_width = text_width

    @classmethod
    def settled(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options, with their defaults where `options` name none: equal ones make equal connectors."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {**{one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}, **options}

    @property
    def memory(self) -> PhraseMemory | None:
        """The memory that a picture's first tokens come from; most connectors have none."""
        return None

    @property
    def num_experts(self) -> int:
        """E of `routing`; 0 for a connector without experts."""
        return 0

    def bypass(self, bypassed: bool) -> None:
        """Leave out what `can_bypass` names, or take it in again; for connectors that name something."""
        assert self.can_bypass or not bypassed, f"{type(self).__name__} has nothing to bypass"

    def routing(self, features: VisionFeatures, context: TextContext) -> Tensor | None:
        """The weight of each expert for each slot [S, E], which sum to one; None for a connector without experts."""
        return None

    def read(self, features: VisionFeatures) -> VisionFeatures:
        """What `reading` makes of pictures, whatever the prompt; `forward` takes it in their features' place.

        While `reading` is frozen it can be kept instead of the features, which are larger.
        """
        raise NotImplementedError(f"{type(self).__name__} reads nothing before its projection")

    @abstractmethod
    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """K for an encoder that gives `num_patches` patches of a view (prefix tokens included) on `grid`."""

    @abstractmethod
    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """Features of I pictures -> image tokens [R, K, D]: R = I without a context, S with one."""


def count_tokens(connector: Connector, features: VisionFeatures) -> int:
    """K for pictures that give such features.

    Raises:
        ModelError: they are seen in tiles, which the connector doesn't read, or lie as it can't take them.
    """
    refuse_tiles(connector, features.tiles)
    return connector.num_tokens(features.num_patches, features.grid, features.tiles)


def refuse_tiles(connector: Connector, tiles: int) -> None:
    """Raise ModelError for pictures that are seen in tiles, which a connector doesn't read."""
    if tiles > 1 and not connector.reads_tiles:
        able = [name for name in CONNECTORS.names() if CONNECTORS.get(name).reads_tiles]
        raise ModelError(
            f"model.vision.tiles: is {tiles}, but {type(connector).__name__} reads pictures that are seen whole",
            hint=f"Connectors that read tiles: {', '.join(able)}.",
        )


CONNECTORS: Registry[type[Connector]] = Registry(
    "connector",
    modules=(
        "visiglot.models.connectors.linear",
        "visiglot.models.connectors.mlp",
        "visiglot.models.connectors.parrot",
        "visiglot.models.connectors.qformer",
        "visiglot.models.connectors.tiled",
    ),
)
