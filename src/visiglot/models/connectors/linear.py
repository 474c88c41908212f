"""One linear layer: each patch becomes one image token (LLaVA, arXiv 2304.08485)."""

from __future__ import annotations

from torch import Tensor, nn

from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.types import TextContext, VisionFeatures


def select_patches(features: VisionFeatures, keep_prefix: bool) -> Tensor:
    """[I, N, Dv], without the tokens that stand before the grid (CLS, registers) unless `keep_prefix`."""
    return features.patches[:, num_prefix(features.patches.shape[1], features.grid, keep_prefix) :]


def num_prefix(num_patches: int, grid: tuple[int, int] | None, keep_prefix: bool) -> int:
    """How many tokens before the grid are dropped."""
    return 0 if keep_prefix or grid is None else num_patches - grid[0] * grid[1]


@CONNECTORS.register("linear")
class LinearConnector(Connector):
    """K = the patches on the grid, or all N with `keep_prefix`."""

    def __init__(self, vision_width: int, text_width: int, *, keep_prefix: bool = False) -> None:
        super().__init__(vision_width, text_width)
        self.keep_prefix = keep_prefix
        self.projection = nn.Linear(vision_width, text_width)

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """The patches on the grid, or all with `keep_prefix`."""
        return num_patches - num_prefix(num_patches, grid, self.keep_prefix)

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, N, Dv] -> [I, K, D]."""
        tokens: Tensor = self.projection(select_patches(features, self.keep_prefix))
        return tokens
