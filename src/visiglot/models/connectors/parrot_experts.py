"""Parrot's mixture of experts over image tokens, and the router that reads the prompt (arXiv 2406.02539, 2.2).

Shapes: I pictures, S image slots, K image tokens, D LLM width, L text tokens, E experts, W an expert's inner width.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from visiglot.types import TextContext


class Expert(nn.Module):
    """W_down(silu(W_gate x) * W_up x), without biases: the layer that Parrot's code and its checkpoints have.

    The paper's table 13 calls it two linear layers with SiLU.
    """

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(text_width, width, bias=False)
        self.up_proj = nn.Linear(text_width, width, bias=False)
        self.down_proj = nn.Linear(width, text_width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        out: Tensor = self.down_proj(silu(self.gate_proj(tokens)) * self.up_proj(tokens))
        return out


class ExpertMixture(nn.Module):
    """E experts for all tokens of a picture, weighted by what its prompt says about it.

    An expert reads a picture once, however many prompts ask about it: only the weights depend on the prompt.

    Args:
        text_width: D.
        experts: E.
        width: W.
        top_k: experts that count for a slot; None: all. Weights aren't rescaled to what is left (equation 4).
        zero_init: start with experts that give nothing.
    """

    def __init__(self, text_width: int, experts: int, width: int, *, top_k: int | None, zero_init: bool) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(text_width, experts, bias=False)
        self.each = nn.ModuleList(Expert(text_width, width) for _ in range(experts))
        if zero_init:
            for name, weight in self.each.named_parameters():
                if name.endswith("down_proj.weight"):
                    nn.init.zeros_(weight)

    def route(self, query: Tensor, context: TextContext) -> Tensor:
        """The weight of each expert for each slot: [S, E] in float32, which sum to one.

        Equations 2 and 3: the picture's query [S, D] attends, with neither heads nor weights of its own, to the word
        embeddings of the prompt; what it reads is routed. A prompt without words gives all experts the same.
        """
        scores = (context.embeddings @ query.to(context.embeddings.dtype)[..., None]).squeeze(-1).float()
        scores = scores / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~context.mask, torch.finfo(scores.dtype).min)
        attention = scores.softmax(-1) * context.mask  # [S, L]; zero everywhere where no word is seen
        read = (attention.to(context.embeddings.dtype)[:, None] @ context.embeddings).squeeze(1)  # [S, D]
        logits: Tensor = self.router(read.to(self.router.weight.dtype))
        return logits.float().softmax(-1)

    def forward(self, tokens: Tensor, weights: Tensor, image_index: Tensor) -> Tensor:
        """The weighted sum of the experts' views: tokens [I, K, D], weights [S, E], image_index [S] -> [S, K, D]."""
        numbers = range(len(self.each))
        if self.top_k is None:
            made = (_weighted(self.each[number](tokens)[image_index], weights[:, number]) for number in numbers)
            return reduce(torch.add, made)
        best = weights.topk(self.top_k, dim=1).indices
        chosen = torch.zeros_like(weights, dtype=torch.bool).scatter(1, best, True)
        sparse = (self._sparse(number, tokens, weights, chosen, image_index) for number in numbers)
        return reduce(torch.add, sparse)

    def _sparse(self, number: int, tokens: Tensor, weights: Tensor, chosen: Tensor, image_index: Tensor) -> Tensor:
        """What one expert gives the slots that chose it, [S, K, D]; it reads only their pictures.

        An expert that nobody chose takes part with no picture, so that every process has the same gradients to share.
        """
        slots = chosen[:, number].nonzero()[:, 0]
        pictures, places = torch.unique(image_index[slots], return_inverse=True)
        made = _weighted(self.each[number](tokens[pictures])[places], weights[slots, number])
        return made.new_zeros(len(image_index), *made.shape[1:]).index_add(0, slots, made)


def _weighted(made: Tensor, weight: Tensor) -> Tensor:
    """[S, K, D] times [S]."""
    return made * weight.to(made.dtype)[:, None, None]
