"""The answers of a batch as plain text, for objectives that compare texts with pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from visiglot.types import IGNORE, Batch, PromptSpec


@dataclass(frozen=True)
class Answers:
    """T different texts and who says them.

    Args:
        ids, mask: [T, L].
        of_row: [R] the text of each row.
    """

    ids: Tensor
    mask: Tensor
    of_row: Tensor


def read_answers(batch: Batch, spec: PromptSpec) -> Answers:
    """Each different supervised text of `batch` once, framed as the LLM reads plain text, without the end marker."""
    texts: dict[tuple[int, ...], int] = {}
    of_row = []
    for labels in batch.labels.tolist():
        text = tuple(label for label in labels if label != IGNORE)
        if spec.end_ids and text[-len(spec.end_ids) :] == spec.end_ids:
            text = text[: -len(spec.end_ids)]
        of_row.append(texts.setdefault(text, len(texts)))
    framed = [(*spec.prefix_ids, *text, *spec.suffix_ids) for text in texts]
    length = max(map(len, framed))
    device = batch.labels.device
    return Answers(
        ids=torch.tensor([ids + (spec.pad_id,) * (length - len(ids)) for ids in framed], device=device),
        mask=torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in framed], device=device),
        of_row=torch.tensor(of_row, device=device),
    )
