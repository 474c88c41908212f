"""A perceptron of `depth` layers: each patch becomes one image token (LLaVA-1.5, arXiv 2310.03744)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.models.connectors.linear import num_prefix, select_patches
from visiglot.types import TextContext, VisionFeatures


@CONNECTORS.register("mlp")
class MLPConnector(Connector):
    """K = the patches on the grid, or all N with `keep_prefix`. GELU between the layers."""

    def __init__(
        self,
        vision_width: int,
        text_width: int,
        *,
        depth: int = 2,
        hidden: int | None = None,
        keep_prefix: bool = False,
    ) -> None:
        super().__init__(vision_width, text_width)
        self.keep_prefix = keep_prefix
        widths = [vision_width, *[hidden or text_width] * (depth - 1), text_width]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.projection = nn.Sequential(*layers[:-1])

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """The patches on the grid, or all with `keep_prefix`."""
        return num_patches - num_prefix(num_patches, grid, self.keep_prefix)

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, N, Dv] -> [I, K, D]."""
        tokens: Tensor = self.projection(select_patches(features, self.keep_prefix))
        return tokens
