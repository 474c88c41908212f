"""From the rows of a step to batches on the device: pictures as pixels, as augmented views, or as cached features.

What a picture looks like in a step follows from (seed, stage, step, picture) and from whether a text of the step says
left or right, so it is the same however the rows are split into forward passes and over processes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from visiglot.config import AugmentationSection
from visiglot.data.collate import collate
from visiglot.errors import TrainingError
from visiglot.train.augment import noise_of
from visiglot.train.features import FeatureCache
from visiglot.train.pictures import Pictures
from visiglot.types import Batch, ImageRef, PromptSpec, Sample, VisionFeatures


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

    def batch(
        self, samples: Sequence[Sample], step: int, upright: Collection[str] = (), unseen: ImageRef | None = None
    ) -> Batch:
        """The samples with their pictures as they look in a step.

        Args:
            upright: keys of pictures that aren't mirrored in it, see `upright`.
            unseen: a picture to encode where the samples show none.

        Raises:
            ImageError: a picture can't be read.
        """
        if self.cache is not None:
            return collate(samples, self.spec, features=lambda images: self._features(images, step), unseen=unseen)
        return collate(samples, self.spec, pixels=lambda images: self._pixels(images, step, upright), unseen=unseen)

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


def split_rows(rows: int, accumulate: int, processes: int) -> list[range]:
    """Places of the rows of each forward pass; process r makes passes r, r + processes, and so on.

    Neighbours, which are of similar length, stay together. Passes differ by at most one row; one without rows is left
    out when there is one process, so that a step short of rows still runs.

    Raises:
        TrainingError: a process of several has no rows, since too many examples of the step were left out.
    """
    parts = accumulate * processes
    edges = [round(part * rows / parts) for part in range(parts + 1)]
    found = [range(*pair) for pair in pairwise(edges)]
    if processes == 1:
        return [places for places in found if places]
    if not all(found):
        raise TrainingError(
            f"a step has {rows} rows for {accumulate} forward passes on each of {processes} processes",
            hint="Raise batch.rows, lower batch.accumulate, or train with fewer processes.",
        )
    return found


def split_by_tokens(sizes: Sequence[tuple[int, int]], tokens: int, processes: int) -> list[list[int]]:
    """Places of the rows of each forward pass, none with more than `tokens` tokens unless it is a single row's.

    The longest come first and are cut off where one more row wouldn't fit; then the passes with most rows are halved
    until each process has as many as the others. Passes that processes make at the same time have similar lengths.

    Args:
        sizes: tokens of each row, of its prompt and of its targets beside that; both are padded to the pass's longest.

    Raises:
        TrainingError: there are fewer rows than processes, since too many examples of the step were left out.
    """
    parts: list[list[int]] = []
    longest = (0, 0)
    for place in sorted(range(len(sizes)), key=lambda place: -sum(sizes[place])):
        wider = (max(longest[0], sizes[place][0]), max(longest[1], sizes[place][1]))
        if parts and (len(parts[-1]) + 1) * sum(wider) <= tokens:
            parts[-1].append(place)
            longest = wider
        else:
            parts.append([place])
            longest = sizes[place]
    while len(parts) % processes:
        largest = max(range(len(parts)), key=lambda part: len(parts[part]))
        rows = parts[largest]
        if len(rows) == 1:
            raise TrainingError(
                f"a step has {len(sizes)} rows, which give each of {processes} processes no equal number of passes",
                hint="Raise batch.rows or batch.tokens, or train with fewer processes.",
            )
        parts[largest : largest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return parts
