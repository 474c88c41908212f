"""Pictures in memory: decoded once, kept as bytes, handed out as what the encoder reads.

Shapes: I pictures, H and W pixels of the encoder's input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from visiglot.config import AugmentationSection
from visiglot.errors import ImageError
from visiglot.images import load_image
from visiglot.models.processor import VisiglotProcessor
from visiglot.train.augment import augment
from visiglot.types import ImageRef

MEMORY = 2 * 2**30
"""Bytes of decoded pictures that are kept by default; those beyond it are decoded each time."""


class Pictures:
    """The processor's pixel values, through a store of 8-bit pictures that it has resized and cropped already.

    Args:
        processor: of the model.
        memory: bytes that the store may hold.
    """

    def __init__(self, processor: VisiglotProcessor, *, memory: int = MEMORY) -> None:
        self.processor = processor
        self.memory = memory
        self._held: dict[str, Tensor] = {}
        self._bytes = 0
        self._mean = torch.tensor(processor.mean)[None, :, None, None]
        self._std = torch.tensor(processor.std)[None, :, None, None]

    def plain(self, images: Sequence[ImageRef]) -> Tensor:
        """[I, 3, H, W] float32 as the processor gives them. Raises ImageError."""
        return (self._unit(images) - self._mean) / self._std

    def views(
        self,
        images: Sequence[ImageRef],
        noise: Tensor,
        how: AugmentationSection,
        *,
        may_mirror: Sequence[bool] | None = None,
    ) -> Tensor:
        """[I, 3, H, W] float32, augmented by `noise` [I, NOISE]; see `augment`. Raises ImageError."""
        return (augment(self._unit(images), noise, how, may_mirror=may_mirror) - self._mean) / self._std

    def _unit(self, images: Sequence[ImageRef]) -> Tensor:
        """[I, 3, H, W] float32 in 0..1."""
        keys = [key_of(image) for image in images]
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in self._held}
        fresh: dict[str, Tensor] = {}
        if missing:
            values = self.processor.pixel_values([load_image(image) for image in missing.values()])
            for key, value in zip(missing, self._bytes_of(values), strict=True):
                fresh[key] = value
                if self._bytes + value.nbytes <= self.memory:
                    self._held[key] = value
                    self._bytes += value.nbytes
        return torch.stack([_floats(fresh.get(key, self._held.get(key))) for key in keys])

    def _bytes_of(self, values: Tensor) -> Tensor:
        """Normalised pixels back to 8 bits a channel; kept as floats when they don't come from 8 bits."""
        unit = values * self._std + self._mean
        whole = (unit * 255).round()
        from_bytes = bool(((unit * 255 - whole).abs() < 1e-2).all()) and bool(((whole >= 0) & (whole <= 255)).all())
        return whole.to(torch.uint8) if from_bytes else unit


def key_of(image: ImageRef) -> str:
    """The picture's name in stores. Raises ImageError when it can't be read."""
    try:
        return image.key
    except OSError as error:
        raise ImageError(
            f"picture {image.name} can't be read: {error.strerror or error}",
            hint="Check the path and the folder it starts from.",
        ) from error


def _floats(value: Tensor | None) -> Tensor:
    assert value is not None
    return value.float() / 255 if value.dtype == torch.uint8 else value
