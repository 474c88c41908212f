"""Passes over the scores of a large vocabulary.

Shapes: B sub-rows, V vocabulary, N blocks of S entries, k wanted.

The k largest scores lie in the k blocks with the largest maxima, or in the rest that fills no block. Finding maxima
runs at the memory's speed, which PyTorch's `topk` and `argmax` don't on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 512
"""S."""


def norms_of(scores: Tensor) -> Tensor:
    """log(sum(exp(scores))) of [B, V]: [B]; not finite when a row's scores aren't."""
    if scores.device.type != "cpu":
        return scores.logsumexp(-1)
    # the fused kernel is twice as fast as logsumexp, though it writes V numbers
    best = likeliest(scores).unsqueeze(1)
    return (scores.gather(1, best) - scores.log_softmax(-1).gather(1, best)).squeeze(1)


def likeliest(scores: Tensor) -> Tensor:
    """The first of the largest scores [B, V] in each row: its index [B]."""
    if scores.shape[1] < 2 * BLOCK:
        return scores.argmax(-1)
    blocks, rest = _blocks(scores)
    block = blocks.amax(-1).argmax(-1, keepdim=True)  # [B, 1]
    inside = blocks.gather(1, block.unsqueeze(2).expand(-1, -1, BLOCK)).squeeze(1)  # [B, S]
    index = block * BLOCK + inside.argmax(-1, keepdim=True)
    if rest.shape[1]:
        other = rest.argmax(-1, keepdim=True)
        index = torch.where(rest.gather(1, other) > scores.gather(1, index), other + blocks.shape[1] * BLOCK, index)
    return index.squeeze(1)


def top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest scores [B, V] of each row and their indices, largest first: [B, k] and [B, k]."""
    if scores.shape[1] < 4 * count * BLOCK:
        return scores.topk(count)
    blocks, rest = _blocks(scores)
    best = blocks.amax(-1).topk(count, sorted=False).indices  # [B, k]
    inside = blocks.gather(1, best.unsqueeze(2).expand(-1, -1, BLOCK)).flatten(1)  # [B, k * S]
    values, places = torch.cat([inside, rest], dim=1).topk(count)
    last = count * BLOCK
    block = best.gather(1, (places // BLOCK).clamp(max=count - 1))
    found = torch.where(places < last, block * BLOCK + places % BLOCK, places - last + blocks.shape[1] * BLOCK)
    return values, found


def _blocks(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Views [B, N, S] and [B, V - N * S] of [B, V]."""
    count = scores.shape[1] // BLOCK
    return scores[:, : count * BLOCK].view(-1, count, BLOCK), scores[:, count * BLOCK :]
