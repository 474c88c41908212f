"""Attention of an encoder-decoder's decode step, through transformers' table of attention functions.

Shapes: B sub-rows, M prompts, W sub-rows of the prompt that has most, H heads, P keys, d width of a head.

Two things that PyTorch's own attention is slow at are done otherwise, for steps that feed one token a sub-row:

- Sub-rows that read the same prompt, such as the beams of a row, share its keys and values: they become queries of one
  row, so that keys are held once, read once, and needn't move with the beams.
- In half precision on a CPU, one query a row runs at a tenth of the memory's speed. Two matrix products in float32 take
  a half to a quarter of the time, and are more exact.

All other calls are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "visiglot_step"
"""Under which transformers knows `step_attention`."""

SCRATCH = 2**21
"""Keys or values, in numbers, that are float32 at one time: they stay in the processor's cache."""


@dataclass(frozen=True)
class Fold:
    """Which sub-rows read the same prompt.

    Args:
        prompts: M.
        width: W.
        gather: [M, W] the sub-rows of each prompt, padded with any; None when they lie in order, W of each.
        place: [B] where each sub-row is among M * W; None likewise.
    """

    prompts: int
    width: int
    gather: Tensor | None
    place: Tensor | None

    @classmethod
    def of(cls, entries: Sequence[int], device: torch.device) -> Fold:
        """From the prompt of each sub-row; prompts are counted from 0."""
        members: list[list[int]] = [[] for _ in range(max(entries) + 1)]
        for sub_row, entry in enumerate(entries):
            members[entry].append(sub_row)
        width = max(map(len, members))
        if [sub_row for rows in members for sub_row in rows] == list(range(len(members) * width)):
            return cls(len(members), width, None, None)
        gather = [rows + rows[:1] * (width - len(rows)) for rows in members]
        place = [0] * len(entries)
        for entry, rows in enumerate(members):
            for offset, sub_row in enumerate(rows):
                place[sub_row] = entry * width + offset
        return cls(len(members), width, torch.tensor(gather, device=device), torch.tensor(place, device=device))

    def together(self, query: Tensor) -> Tensor:
        """[B, H, 1, d] -> [M, H, W, d]."""
        flat = query.squeeze(2)
        grouped = flat.view(self.prompts, self.width, *flat.shape[1:]) if self.gather is None else flat[self.gather]
        return grouped.transpose(1, 2)

    def apart(self, output: Tensor) -> Tensor:
        """[M, W, H, d] -> [B, 1, H, d]."""
        flat = output.flatten(0, 1)
        return (flat if self.place is None else flat[self.place]).unsqueeze(1)


_fold: ContextVar[Fold | None] = ContextVar("fold", default=None)


@contextmanager
def folding(fold: Fold) -> Iterator[None]:
    """Meanwhile `step_attention` takes keys of M rows for those that `fold` says."""
    token = _fold.set(fold)
    try:
        yield
    finally:
        _fold.reset(token)


def install(language_model: Any) -> bool:
    """Let the decoder of an encoder-decoder use `step_attention`; False when its attention isn't PyTorch's.

    This changes nothing for other callers of the model, and isn't saved with it.
    """
    config = language_model.get_decoder().config
    if config._attn_implementation == "sdpa" and type(language_model)._can_set_attn_implementation():
        config._attn_implementation = NAME
    return bool(config._attn_implementation == NAME)


def step_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of `query` [B, H, l, d] over `key` and `value` [B or M, H, P, d]: [B, l, H, d].

    Args:
        attention_mask: [B or M, 1, l, P], False (or a large negative number) where a key isn't seen.
        position_bias: [1, H, l, P] added to the scores (T5).
    """
    fold = _fold.get() if len(key) != len(query) else None
    one = query.shape[2] == 1
    if fold is not None:
        query = fold.together(query)
        kwargs["is_causal"] = False
    half = query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16)
    if one and half and kwargs.get("softcap") is None and not torch.is_grad_enabled():  # it writes in place
        groups = query.shape[1] // key.shape[1]
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
        output = _products(query, key, value, attention_mask, scaling or query.shape[-1] ** -0.5, position_bias)
    else:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, position_bias=position_bias, **kwargs
        )
    return (output if fold is None else fold.apart(output)), None


def _products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, bias: Tensor | None
) -> Tensor:
    """[M, H, W, d] over [M, H, P, d] as two matrix products in float32, a few rows at a time: [M, W, H, d]."""
    rows, heads, length, width = key.shape
    output = query.new_empty(rows, query.shape[2], heads, width)
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill_(~mask, torch.finfo(torch.float32).min)
    count = max(SCRATCH // (heads * length * width), 1)
    scratch = torch.empty(min(count, rows), heads, length, width)
    for start in range(0, rows, count):
        part = slice(start, start + count)
        numbers = scratch[: len(key[part])]
        scores = torch.matmul(query[part].float() * scaling, numbers.copy_(key[part]).transpose(-1, -2))
        if bias is not None:
            scores += bias
        if mask is not None:
            scores += mask[part]
        output[part] = torch.matmul(scores.softmax(-1), numbers.copy_(value[part])).transpose(1, 2)
    return output


ALL_ATTENTION_FUNCTIONS.register(NAME, step_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
