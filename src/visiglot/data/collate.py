"""Samples -> Batch: padding, and each picture once.

R rows, L tokens, T target tokens, S image slots, I pictures
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from visiglot.errors import ImageError
from visiglot.types import IGNORE, Batch, ImageRef, PromptSpec, Sample, VisionFeatures

Side = Literal["left", "right"]


def collate(
    samples: Sequence[Sample],
    spec: PromptSpec,
    *,
    padding_side: Side = "right",
    pixels: Callable[[Sequence[ImageRef]], Tensor] | None = None,
    features: Callable[[Sequence[ImageRef]], VisionFeatures] | None = None,
    unseen: ImageRef | None = None,
) -> Batch:
    """Pad rows to the longest, and look each picture up once however many rows show it.

    Args:
        samples: R rendered examples, at least one. Rows rendered for completion have no labels: causal rows get IGNORE
            everywhere, seq2seq rows get none (T = 0). A twin that is to be a row follows its sample.
        spec: that they were rendered with.
        padding_side: of the prompts, and of causal labels, which stay aligned with them; seq2seq labels are always
            padded on the right.
        pixels: the pictures' pixel values [I, 3, H, W].
        features: the pictures' cached features; exactly one of the two is given when there are pictures.
        unseen: a picture that goes with rows that show none, and stands in no slot.

    Raises:
        ImageError: a picture can't be read.
    """
    assert samples, "a batch needs at least one row"
    length = max(len(sample.ids) for sample in samples)
    ids = [_pad(sample.ids, length, spec.pad_id, padding_side) for sample in samples]
    mask = [_pad([1] * len(sample.ids), length, 0, padding_side) for sample in samples]
    targets: list[list[int]] | None = None
    said = [sample.labels for sample in samples]
    side = padding_side
    if spec.layout == "causal":
        said = [labels or (IGNORE,) * len(sample.ids) for sample, labels in zip(samples, said)]
    else:
        side = "right"
    longest = max(map(len, said))
    labels = [_pad(one, longest, IGNORE, side) for one in said]
    if any(sample.targets for sample in samples):
        targets = [_pad(sample.targets or one, longest, IGNORE, side) for sample, one in zip(samples, said)]
    prompts = [_pad(_prompt_mask(sample, spec.image_token_id), length, False, padding_side) for sample in samples]
    pictures, slot_image, slot_row = _slots(samples)
    if not pictures and unseen is not None:
        pictures = [unseen]
    pixel_values, found = _look_up(pictures, pixels, features)
    return Batch(
        input_ids=torch.tensor(ids, dtype=torch.long),
        attention_mask=torch.tensor(mask, dtype=torch.long),
        labels=torch.tensor(labels, dtype=torch.long),
        slot_image=torch.tensor(slot_image, dtype=torch.long),
        slot_row=torch.tensor(slot_row, dtype=torch.long),
        ids=tuple(sample.id for sample in samples),
        languages=tuple(sample.language for sample in samples),
        tasks=tuple(sample.task for sample in samples),
        pixel_values=pixel_values,
        features=found,
        prompt_mask=torch.tensor(prompts, dtype=torch.bool),
        targets=None if targets is None else torch.tensor(targets, dtype=torch.long),
        twins=tuple((row, row + 1) for row, pair in enumerate(pairwise(samples)) if pair[0].twin is pair[1]),
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`."""
    moved: dict[str, Any] = {
        field.name: value.to(device, non_blocking=True)
        for field in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    features = batch.features
    if features is not None:
        features = features.like(features.patches.to(device), features.pooled.to(device))
    return dataclasses.replace(batch, **moved, features=features)


def _prompt_mask(sample: Sample, image_token_id: int) -> list[bool]:
    """True at the text tokens before the first answer."""
    return [place < sample.prompt_length and token != image_token_id for place, token in enumerate(sample.ids)]


def _pad(values: Sequence[int], length: int, filler: int, side: Side) -> list[int]:
    padding = [filler] * (length - len(values))
    return [*padding, *values] if side == "left" else [*values, *padding]


def _slots(samples: Sequence[Sample]) -> tuple[list[ImageRef], list[int], list[int]]:
    """The I different pictures in the order they are met, and picture and row of each of the S slots."""
    numbers: dict[str, int] = {}
    pictures: list[ImageRef] = []
    slot_image: list[int] = []
    slot_row: list[int] = []
    for row, sample in enumerate(samples):
        for ref in sample.images:
            try:
                key = ref.key
            except OSError as error:
                raise ImageError(
                    f"example {sample.id}: picture {ref.name} can't be read: {error.strerror or error}",
                    hint="Check the path and the folder it starts from.",
                ) from error
            if key not in numbers:
                numbers[key] = len(pictures)
                pictures.append(ref)
            slot_image.append(numbers[key])
            slot_row.append(row)
    return pictures, slot_image, slot_row


def _look_up(
    pictures: Sequence[ImageRef],
    pixels: Callable[[Sequence[ImageRef]], Tensor] | None,
    features: Callable[[Sequence[ImageRef]], VisionFeatures] | None,
) -> tuple[Tensor | None, VisionFeatures | None]:
    if not pictures:
        return None, None
    assert (pixels is None) != (features is None), "pictures come as pixels or as features"
    if features is not None:
        found = features(pictures)
        assert found.patches.shape[0] == len(pictures)
        return None, found
    assert pixels is not None
    values = pixels(pictures)
    assert values.shape[0] == len(pictures)
    return values, None
