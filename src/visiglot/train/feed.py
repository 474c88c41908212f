"""From the rows of a step to batches on the device: pictures as pixels, as augmented views, or as cached features.

What a picture looks like in a step follows from (seed, stage, step, picture) and from whether a text of the step says
left or right, so it is the same however the rows are split into forward passes and over processes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from visiglot.config import AugmentationSection
from visiglot.data.collate import collate
from visiglot.errors import TrainingError
from visiglot.train.augment import noise_of
from visiglot.train.features import FeatureCache
from visiglot.train.pictures import Pictures
from visiglot.types import Batch, ImageRef, PromptSpec, Sample, VisionFeatures

T = TypeVar("T")


class Feed:
    """Makes the batches of a stage.

    Args:
        spec: that the samples were rendered with.
        pictures: where pixel values come from.
        draw: names the stage's random draws ("<seed>/<stage>").
        augmentation: None for the plain picture.
        cache: where features come from instead of pixels; takes `views` views of each picture.
    """

    def __init__(
        self,
        spec: PromptSpec,
        pictures: Pictures,
        *,
        draw: str,
        augmentation: AugmentationSection | None = None,
        cache: FeatureCache | None = None,
        views: int = 1,
    ) -> None:
        assert augmentation is None or cache is None
        self.spec = spec
        self.pictures = pictures
        self.draw = draw
        self.augmentation = augmentation
        self.cache = cache
        self.views = views

    def batch(self, samples: Sequence[Sample], step: int, upright: Collection[str] = ()) -> Batch:
        """The samples with their pictures as they look in a step.

        Args:
            upright: keys of pictures that aren't mirrored in it, see `upright`.

        Raises:
            ImageError: a picture can't be read.
        """
        if self.cache is not None:
            return collate(samples, self.spec, features=lambda images: self._features(images, step))
        return collate(samples, self.spec, pixels=lambda images: self._pixels(images, step, upright))

    def close(self) -> None:
        """Keep the features that are only in memory. Raises CheckpointError."""
        if self.cache is not None:
            self.cache.flush()

    def _pixels(self, images: Sequence[ImageRef], step: int, upright: Collection[str]) -> Tensor:
        if self.augmentation is None:
            return self.pictures.plain(images)
        noise = torch.cat([noise_of(f"{self.draw}/{step}/{image.key}") for image in images])
        may_mirror = [image.key not in upright for image in images]
        return self.pictures.views(images, noise, self.augmentation, may_mirror=may_mirror)

    def _features(self, images: Sequence[ImageRef], step: int) -> VisionFeatures:
        assert self.cache is not None
        return self.cache.features(images, [self._view(image, step) for image in images])

    def _view(self, image: ImageRef, step: int) -> int:
        digest = hashlib.sha256(f"{self.draw}/{step}/{image.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.views


def upright(samples: Sequence[Sample]) -> frozenset[str]:
    """Keys of the pictures that some of a step's rows speak of as having a left and a right.

    They are looked for in the whole step, so that a picture looks the same in all its forward passes.
    """
    keys = set()
    for image in [image for sample in samples if sample.says_side for image in sample.images]:
        with contextlib.suppress(OSError):  # whoever shows it says that it can't be read
            keys.add(image.key)
    return frozenset(keys)


def split_rows(samples: Sequence[T], accumulate: int, rank: int, processes: int) -> list[Sequence[T]]:
    """The rows of each forward pass of process `rank`.

    Neighbours, which are of similar length, stay together. Parts differ by at most one row; a part without rows is left
    out when there is one process, so that a step short of rows still runs.

    Raises:
        TrainingError: a process of several has no rows, since too many examples of the step were left out.
    """
    parts = accumulate * processes
    edges = [round(part * len(samples) / parts) for part in range(parts + 1)]
    own = [samples[edges[part] : edges[part + 1]] for part in range(rank, parts, processes)]
    if processes == 1:
        own = [rows for rows in own if rows]
    if not all(own):
        raise TrainingError(
            f"a step has {len(samples)} rows for {accumulate} forward passes on each of {processes} processes",
            hint="Raise batch.rows, lower batch.accumulate, or train with fewer processes.",
        )
    return own
