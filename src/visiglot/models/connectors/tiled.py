"""Centurio's connectors for pictures seen in tiles (Geigle et al., 2025, arXiv 2501.05122, and the authors' code).

A picture that is seen as an overview and in m x m tiles has 1 + m^2 times the patches of one that is seen whole. These
connectors keep the row short: `multiscale-pool`, the paper's, makes no more tokens than of one view, by laying what the
tiles show over what the overview shows; `window-pool` and `window-shuffle` shrink each view and put one behind the
other. Each also takes pictures that are seen whole.

Shapes: I pictures, V = 1 + m^2 views of each, h x w patches of a view, Dv vision width, K image tokens, D LLM width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, pixel_unshuffle

from visiglot.errors import ModelError
from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.types import TextContext, VisionFeatures, views_of


def maps(features: VisionFeatures) -> Tensor:
    """[I, V N, Dv] -> [I, V, Dv, h, w], without the tokens that stand before the grid (CLS, registers).

    Raises:
        ModelError: the patches lie on no grid.
    """
    rows, columns = grid_of(features.grid)
    count, _, width = features.patches.shape
    views = features.patches.reshape(count, features.views, features.num_patches, width)[:, :, -rows * columns :]
    return views.transpose(2, 3).reshape(count, features.views, width, rows, columns)


def grid_of(grid: tuple[int, int] | None) -> tuple[int, int]:
    """Raises ModelError: there is none."""
    if grid is None:
        raise ModelError(
            "connector: the encoder's patches lie on no grid, which neighbours are told by",
            hint="Use a connector that needs none, such as qformer, or another encoder.",
        )
    return grid


def rows_of(shown: Tensor) -> Tensor:
    """[I, V, C, h, w] -> [I, V h w, C]: view after view, each row by row."""
    return shown.flatten(3).transpose(2, 3).flatten(1, 2)


def perceptron(width: int, text_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, text_width), nn.GELU(), nn.Linear(text_width, text_width))


@CONNECTORS.register("multiscale-pool")
class MultiscalePool(Connector):
    """K = h w: each patch of the overview, beside the mean of the m x m patches of the tiles that show its place.

    The tiles' patches are put together as the picture is, [m h, m w], and averaged over m x m to [h, w]; the perceptron
    reads both at once. Of a picture that is seen whole both are the same.
    """

    reads_tiles = True

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__(vision_width, text_width)
        self.projection = perceptron(2 * vision_width, text_width)

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """The patches on the grid of one view."""
        rows, columns = grid_of(grid)
        return rows * columns

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, V N, Dv] -> [I, K, D]."""
        shown, tiles = maps(features), features.tiles
        overview = shown[:, 0]  # [I, Dv, h, w]
        windows = (shown if tiles == 1 else shown[:, 1:]).reshape(-1, tiles, tiles, *shown.shape[2:])
        whole = windows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)  # [I, Dv, m h, m w]
        both = torch.cat([overview, avg_pool2d(whole, tiles)], dim=1)
        tokens: Tensor = self.projection(rows_of(both[:, None]))
        return tokens


@CONNECTORS.register("window-pool")
class WindowPool(Connector):
    """K = V side^2: the tokens of each view, averaged to `side` x `side`, view after view.

    Args:
        side: places that a view is averaged to, to a side, as `AdaptiveAvgPool2d` divides it.
    """

    reads_tiles = True

    def __init__(self, vision_width: int, text_width: int, *, side: int = 8) -> None:
        super().__init__(vision_width, text_width)
        if side < 1:
            raise ModelError(f"connector window-pool: side is {side}", hint="It is 1 or more.")
        self.side = side
        self.projection = perceptron(vision_width, text_width)

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """`side` squared for each view."""
        grid_of(grid)
        return views_of(tiles) * self.side**2

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, V N, Dv] -> [I, K, D]."""
        shown = maps(features)
        count, views, _, rows, columns = shown.shape
        tokens = self.projection(rows_of(shown)).transpose(1, 2)  # [I, D, V h w]
        tokens = tokens.reshape(count, -1, views, rows, columns).transpose(1, 2)  # [I, V, D, h, w]
        pooled = adaptive_avg_pool2d(tokens.flatten(0, 1), self.side)
        return rows_of(pooled.reshape(count, views, -1, self.side, self.side))


@CONNECTORS.register("window-shuffle")
class WindowShuffle(Connector):
    """K = V h w / factor^2: `factor` x `factor` neighbours of each view become one token of their width together.

    Args:
        factor: neighbours to a side; it divides the rows and the columns of a view's patches.
    """

    reads_tiles = True

    def __init__(self, vision_width: int, text_width: int, *, factor: int = 2) -> None:
        super().__init__(vision_width, text_width)
        if factor < 1:
            raise ModelError(f"connector window-shuffle: factor is {factor}", hint="It is 1 or more.")
        self.factor = factor
        self.projection = perceptron(vision_width * factor**2, text_width)

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """The groups of neighbours of all views. Raises ModelError when the factor doesn't divide the grid."""
        rows, columns = grid_of(grid)
        if rows % self.factor or columns % self.factor:
            fits = [one for one in range(2, min(rows, columns) + 1) if rows % one == columns % one == 0]
            raise ModelError(
                f"connector window-shuffle: factor {self.factor} doesn't divide a view's {rows} x {columns} patches",
                hint=f"Set options.factor to {' or '.join(map(str, fits)) or '1'}, or use window-pool.",
            )
        return views_of(tiles) * (rows // self.factor) * (columns // self.factor)

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, V N, Dv] -> [I, K, D]."""
        tokens: Tensor = self.projection(rows_of(pixel_unshuffle(maps(features), self.factor)))
        return tokens
