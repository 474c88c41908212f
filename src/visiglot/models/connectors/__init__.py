"""Connectors: from the encoder's features to tokens in the LLM's embedding space.

A new connector is one file that registers a `Connector` in `CONNECTORS`.

Shapes: I pictures, S image slots, R = S with a context and I without one, N patches, K image tokens, Dv vision width,
D LLM width, L text tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

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
    can_bypass: ClassVar[tuple[str, ...]] = ()
    """Modules below it that a stage may leave out (`train: bypassed`): it has an option `bypassed`, and `bypass`."""
    bypassed: bool = False

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__()
        self.vision_width = vision_width
        self.text_width = text_width

    @property
    def memory(self) -> PhraseMemory | None:
        """The memory that a picture's first tokens come from; most connectors have none."""
        return None

    def bypass(self, bypassed: bool) -> None:
        """Leave out what `can_bypass` names, or take it in again; for connectors that name something."""
        assert self.can_bypass or not bypassed, f"{type(self).__name__} has nothing to bypass"

    def routing(self, features: VisionFeatures, context: TextContext) -> Tensor | None:
        """The weight of each expert for each slot [S, E], which sum to one; None for a connector without experts."""
        return None

    @abstractmethod
    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None) -> int:
        """K for an encoder that gives `num_patches` patches (prefix tokens included) on `grid`."""

    @abstractmethod
    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """Features of I pictures -> image tokens [R, K, D]: R = I without a context, S with one."""


CONNECTORS: Registry[type[Connector]] = Registry(
    "connector",
    modules=(
        "visiglot.models.connectors.linear",
        "visiglot.models.connectors.mlp",
        "visiglot.models.connectors.parrot",
        "visiglot.models.connectors.qformer",
    ),
)
