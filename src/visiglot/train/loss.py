"""Cross-entropy over a large vocabulary without its logits.

P supervised positions, D width of the LLM, V vocabulary. Plain cross-entropy holds [P, V] logits and their gradient;
with 250,000 words that is more memory than the rest of a small model's step. Here at most `chunk` positions have logits
at any time, and the result is the plain one; of a frozen linear head, only those of a block of its words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

BLOCK = 8192
"""Words of a frozen linear head that have logits at one time. The C library keeps blocks of such a size when they are
freed; of larger ones it hands the pages back, and the next ones cost a third of the time (`benchmarks/loss.py`)."""

Head = Callable[[Tensor], Tensor]
"""[P, D] states -> [P, V] logits."""


def chunked_cross_entropy(head: Head, states: Tensor, labels: Tensor, chunk: int) -> Tensor:
    """Negative log-likelihood of each label, [P] in float32.

    A frozen head's gradient with respect to the states is taken during the forward pass, chunk by chunk, since
    position p's loss depends on no state but its own; a trained head's logits are computed again in the backward pass.

    Args:
        states: [P, D].
        labels: [P], none of them ignored.
        chunk: positions whose logits exist at one time.
    """
    pieces = list(zip(torch.split(states, chunk), torch.split(labels, chunk), strict=True))
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return torch.cat([_losses(head, *piece) for piece in pieces]) if pieces else states.new_zeros(0)
    head_is_trained = head(states[:0].detach()).requires_grad
    if head_is_trained:
        return torch.cat(
            [checkpoint(_losses, head, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        )
    losses: Tensor = _FrozenHeadLoss.apply(head, states, labels, chunk)  # type: ignore[no-untyped-call]
    return losses


def linear_cross_entropy(head: nn.Linear, states: Tensor, labels: Tensor, chunk: int) -> Tensor:
    """`chunked_cross_entropy` of a frozen head that is a linear layer and nothing more.

    Beside positions it takes the vocabulary in blocks, in one pass over them: the running softmax of FlashAttention
    (Dao et al., 2022, arXiv 2205.14135), with words in the place of keys and values, gives both the loss and its
    gradient with respect to the states. So a step holds no copy of the head in fewer bits, and reads the head once for
    each chunk.

    Raises:
        ValueError: the head trains.
    """
    if any(parameter.requires_grad for parameter in head.parameters()):
        raise ValueError("a head that trains needs chunked_cross_entropy")
    losses: Tensor = _FrozenLinearLoss.apply(head, states, labels, chunk)  # type: ignore[no-untyped-call]
    return losses


def chunked_symmetric_kl(head: Head, one: Tensor, other: Tensor, chunk: int) -> Tensor:
    """Half of KL(p|q) + KL(q|p) at each position, [P] in float32, p and q being what the head says of two states.

    As in R-Drop (Wu et al., 2021, arXiv 2106.14448), whose two distributions are of two dropout masks. At most `chunk`
    positions have logits at one time; they are computed again in the backward pass.

    Args:
        one, other: [P, D].
    """
    pieces = list(zip(torch.split(one, chunk), torch.split(other, chunk), strict=True))
    return torch.cat(
        [checkpoint(_symmetric_kl, head, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    )


def _symmetric_kl(head: Head, one: Tensor, other: Tensor) -> Tensor:
    p, q = head(one).float().log_softmax(-1), head(other).float().log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2


def _losses(head: Head, states: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(head(states).float(), labels, reduction="none")


class _FrozenHeadLoss(torch.autograd.Function):
    """Losses [P] whose gradient [P, D] was taken on the way forward."""

    @staticmethod
    def forward(ctx: Any, head: Head, states: Tensor, labels: Tensor, chunk: int) -> Tensor:
        gradient = torch.empty_like(states)
        losses = []
        for start in range(0, len(states), chunk):
            end = start + chunk
            with torch.enable_grad():
                piece = states[start:end].detach().requires_grad_()
                loss = _losses(head, piece, labels[start:end])
                (gradient[start:end],) = torch.autograd.grad(loss.sum(), piece)
            losses.append(loss.detach())
        ctx.save_for_backward(gradient)
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return None, gradient * upstream[0].unsqueeze(-1).to(gradient.dtype), None, None


class _FrozenLinearLoss(torch.autograd.Function):
    """Losses [P] of a linear head whose gradient [P, D] was taken on the way forward."""

    @staticmethod
    def forward(ctx: Any, head: nn.Linear, states: Tensor, labels: Tensor, chunk: int) -> Tensor:
        device = states.device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else head.weight.dtype
        needed = ctx.needs_input_grad[1]
        losses = states.new_empty(len(states), dtype=torch.float32)
        gradient = torch.empty_like(states) if needed else None
        with torch.autocast(device, enabled=False):
            for start in range(0, len(states), chunk):
                rows = slice(start, start + chunk)
                found, pull = _softmax_over_blocks(head, states[rows].to(dtype), labels[rows], needed)
                losses[rows] = found
                if gradient is not None and pull is not None:
                    gradient[rows] = pull.to(gradient.dtype)
        ctx.save_for_backward(*([] if gradient is None else [gradient]))
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return None, gradient * upstream[0].unsqueeze(-1).to(gradient.dtype), None, None


def _softmax_over_blocks(
    head: nn.Linear, states: Tensor, labels: Tensor, needs_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Losses [P] and their gradients [P, D] in float32, without autocast; states [P, D] in the computation's format.

    The gradient is the mean of the words' rows under the softmax, less the label's row.
    """
    largest = states.new_full((len(states), 1), -torch.inf, dtype=torch.float32)  # logit so far
    total = torch.zeros_like(largest)  # of the exponentials, relative to the largest
    pull = states.new_zeros(states.shape, dtype=torch.float32) if needs_gradient else None  # likewise, times the rows
    of_label = torch.zeros_like(largest)
    for start in range(0, head.out_features, BLOCK):
        block = slice(start, min(start + BLOCK, head.out_features))
        words = head.weight[block].to(states.dtype)  # [B, D]
        bias = None if head.bias is None else head.bias[block].to(states.dtype)
        logits = linear(states, words, bias).float()  # [P, B]
        place = (labels - start)[:, None]
        inside = (place >= 0) & (place < len(words))
        of_label = torch.where(inside, logits.gather(1, place.clamp(0, len(words) - 1)), of_label)
        larger = torch.maximum(largest, logits.amax(1, keepdim=True))
        shrink = (largest - larger).exp_()
        logits.sub_(larger).exp_()
        total.mul_(shrink).add_(logits.sum(1, keepdim=True))
        if pull is not None:
            pull.mul_(shrink).add_(logits.to(states.dtype) @ words)
        largest = larger
    if pull is not None:
        pull.div_(total).sub_(head.weight[labels].to(states.dtype))
    return (largest + total.log() - of_label).squeeze(1), pull
