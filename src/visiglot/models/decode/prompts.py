"""Rows to the embeddings that the LLM reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from visiglot.errors import PromptError
from visiglot.models.decode.rows import Row
from visiglot.types import Layout, VisionFeatures


def check_row(row: Row, max_positions: int | None, layout: Layout) -> None:
    """Raise PromptError when the row can't be decoded: no prompt, pictures and features that differ, too long."""
    if not row.sample.ids:
        raise PromptError(f"{row.key}: the prompt is empty", hint="Give a text or a picture.")
    needed, found = len(row.sample.images), 0 if row.features is None else len(row.features.patches)
    if needed != found:
        raise PromptError(
            f"{row.key}: the prompt shows {needed} image{'' if needed == 1 else 's'}, features of {found} were given",
            hint="Encode the images of the row in the order of their slots.",
        )
    prompt = len(row.sample.ids) if layout == "causal" else 1
    total = prompt + row.decoding.max_new_tokens
    if max_positions is not None and total > max_positions:
        raise PromptError(
            f"{row.key}: {prompt} prompt tokens and {row.decoding.max_new_tokens} new ones are more than the "
            f"{max_positions} positions of the language model",
            hint="Shorten the prompt, show fewer images, or lower max_new_tokens.",
        )


def embed_prompts(model: Any, rows: Sequence[Row], layout: Layout, pad_id: int) -> tuple[Tensor, Tensor]:
    """The prompts' embeddings [R, P, D] and mask [R, P], padded on the left (causal) or on the right (seq2seq).

    Features that rows share (the same object) are given to the model once.
    """
    device = model.device
    length = max(len(row.sample.ids) for row in rows)
    ids = torch.full((len(rows), length), pad_id)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    prompts = torch.zeros((len(rows), length), dtype=torch.bool)
    for position, row in enumerate(rows):
        count = len(row.sample.ids)
        where = slice(length - count, length) if layout == "causal" else slice(0, count)
        ids[position, where] = torch.tensor(row.sample.ids)
        mask[position, where] = 1
        seen = count if model.connector.reads_all_turns else row.sample.prompt_length
        prompts[position, where.start : where.start + seen] = True
    features, slot_image, slot_row = _stack_features(rows)
    mask = mask.to(device)
    embeds = model.embed(
        ids.to(device),
        mask,
        features=None if features is None else _to(features, device),
        slot_image=slot_image.to(device),
        slot_row=slot_row.to(device),
        prompt_mask=prompts.to(device),
    )
    assert isinstance(embeds, Tensor)
    return embeds, mask


def _stack_features(rows: Sequence[Row]) -> tuple[VisionFeatures | None, Tensor, Tensor]:
    """The distinct pictures of all rows, and for each slot its picture and its row."""
    first_image: dict[int, int] = {}  # id of a features object -> index of its first picture
    distinct: list[VisionFeatures] = []
    slot_image: list[int] = []
    slot_row: list[int] = []
    total = 0
    for position, row in enumerate(rows):
        if row.features is None:
            continue
        count = len(row.features.patches)
        if id(row.features) not in first_image:
            first_image[id(row.features)] = total
            distinct.append(row.features)
            total += count
        start = first_image[id(row.features)]
        slot_image += range(start, start + count)
        slot_row += [position] * count
    slots = torch.tensor(slot_image, dtype=torch.long), torch.tensor(slot_row, dtype=torch.long)
    if not distinct:
        return None, *slots
    if len(distinct) == 1:
        return distinct[0], *slots
    shapes = {features.patches.shape[1:] for features in distinct}
    assert len(shapes) == 1, f"features of one encoder differ in shape: {shapes}"
    patches = torch.cat([features.patches for features in distinct])
    pooled = torch.cat([features.pooled for features in distinct])
    return distinct[0].like(patches, pooled), *slots


def _to(features: VisionFeatures, device: torch.device) -> VisionFeatures:
    return features.like(features.patches.to(device), features.pooled.to(device))
