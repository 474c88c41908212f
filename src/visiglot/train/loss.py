"""Cross-entropy over a large vocabulary without its logits.

P supervised positions, D width of the LLM, V vocabulary. Plain cross-entropy holds [P, V] logits and their gradient;
with 250,000 words that is more memory than the rest of a small model's step. Here at most `chunk` positions have logits
at any time, and the result is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

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
