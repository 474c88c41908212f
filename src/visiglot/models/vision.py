"""The vision encoder: any Hugging Face vision model, seen as patches, a pooled vector and a grid.

Shapes: I pictures, V views of each, N patches of a view (prefix tokens such as CLS included), Dv vision width, H and W
pixels, m tiles to a side.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import AutoModel

from visiglot.errors import ModelError
from visiglot.models.families import vision_architecture
from visiglot.types import VisionFeatures


class VisionEncoder(nn.Module):
    """Wraps a stock encoder; its weights are under `model`, with the encoder's own key names below that.

    Args:
        config: of the encoder.
        layer: hidden state to read; -1 is the last, after the encoder's final norm.
        dtype: of the weights; default: the config's.
        tiles: m; pictures are m times as large to a side as the encoder takes them, and are seen in tiles.
    """

    def __init__(self, config: Any, layer: int = -1, dtype: torch.dtype | None = None, *, tiles: int = 1) -> None:
        super().__init__()
        self.layer = layer
        self.tiles = tiles
        self.model = build_encoder(config, dtype)

    def forward(self, pixel_values: Tensor) -> VisionFeatures:
        """[I, 3, H, W] -> patches [I, V N, Dv] and pooled [I, Dv]."""
        if self.tiles == 1:
            return self._encode(pixel_values)
        seen = self._encode(cut(pixel_values, self.tiles).flatten(0, 1))
        count, width = len(pixel_values), seen.patches.shape[2]
        patches, pooled = seen.patches.reshape(count, -1, width), seen.pooled.reshape(count, -1, width)[:, 0]
        return VisionFeatures(patches, pooled, seen.grid, self.tiles)

    def _encode(self, pixel_values: Tensor) -> VisionFeatures:
        """Each picture as one view."""
        # convolutions are a third faster when each pixel's channels lie side by side; other encoders don't mind
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        outputs = self.model(pixel_values, output_hidden_states=self.layer != -1)
        hidden = outputs.last_hidden_state if self.layer == -1 else outputs.hidden_states[self.layer]
        grid: tuple[int, int] | None
        if hidden.dim() == 4:  # a convolutional encoder: [I, Dv, rows, columns]
            grid = (hidden.shape[2], hidden.shape[3])
            patches = hidden.flatten(2).transpose(1, 2)
        else:
            patches = hidden
            grid = _grid(patches.shape[1], pixel_values, self.model.config)
        pooled = getattr(outputs, "pooler_output", None)
        pooled = patches.mean(1) if pooled is None or self.layer != -1 else pooled.flatten(1)
        return VisionFeatures(patches, pooled, grid)


def cut(pixel_values: Tensor, tiles: int) -> Tensor:
    """Pictures [I, 3, m h, m w] -> views [I, 1 + m^2, 3, h, w]: an overview, then the tiles row by row.

    As Centurio's code orders them (Geigle et al., 2025, arXiv 2501.05122). It makes the overview from the picture as it
    is in its file; here it is the large picture scaled down (bicubic, antialiased).
    """
    count, channels, height, width = pixel_values.shape
    size = (height // tiles, width // tiles)
    assert (size[0] * tiles, size[1] * tiles) == (height, width), "pictures are a whole number of tiles"
    overview = interpolate(pixel_values.float(), size, mode="bicubic", antialias=True).to(pixel_values.dtype)
    rows = pixel_values.view(count, channels, tiles, size[0], tiles, size[1])
    windows = rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    return torch.cat([overview[:, None], windows], dim=1)


def build_encoder(config: Any, dtype: torch.dtype | None = None) -> nn.Module:
    """A new encoder with random weights for `config`.

    Raises:
        ModelError: transformers has no vision model for it.
    """
    given = {} if dtype is None else {"dtype": dtype}
    encoder: nn.Module = encoder_class(config)._from_config(config, **given)
    return encoder


def encoder_class(config: Any) -> Any:
    """The transformers class of an encoder.

    Raises:
        ModelError: transformers has no vision model for `config`.
    """
    named = vision_architecture(config.model_type)
    if named is not None:
        return getattr(transformers, named)
    try:
        found = AutoModel._model_mapping[type(config)]
    except KeyError:
        raise ModelError(
            f"vision: transformers has no vision model for {type(config).__name__} (model_type {config.model_type!r})",
            hint="Name an encoder such as vit, clip_vision_model, siglip_vision_model, dinov2 or resnet.",
        ) from None
    return found[0] if isinstance(found, tuple | list) else found


def image_size_of(config: Any) -> int | None:
    """Side in pixels that the encoder was made for; None when it takes any (convolutional encoders)."""
    size = config.to_dict().get("image_size")
    if isinstance(size, list | tuple):
        size = size[0]
    return None if config.to_dict().get("patch_size") is None else size


@torch.no_grad()
def measure(encoder: VisionEncoder, image_size: int) -> VisionFeatures:
    """The features of one black picture, seen in views of `image_size`: how many patches, how wide, on which grid."""
    training = encoder.training
    encoder.eval()
    parameter = next(encoder.parameters())
    side = image_size * encoder.tiles
    blank = torch.zeros(1, 3, side, side, dtype=parameter.dtype, device=parameter.device)
    try:
        features: VisionFeatures = encoder(blank)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"vision: the encoder can't take pictures of {image_size} x {image_size} pixels: {error}",
            hint="Set model.vision.image_size to the size the encoder was made for.",
        ) from error
    finally:
        encoder.train(training)
    return features


def _grid(num_patches: int, pixel_values: Tensor, config: Any) -> tuple[int, int] | None:
    """Rows and columns of the patches, from the patch size; None when the encoder states none."""
    patch = config.to_dict().get("patch_size")
    if isinstance(patch, list | tuple):
        patch = patch[0]
    if patch:
        rows, columns = pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch
        if rows * columns <= num_patches:
            return rows, columns
    side = math.isqrt(num_patches)
    return (side, side) if side * side == num_patches else None
