"""BLIP-2's Q-Former: learned queries read the patches by cross-attention (arXiv 2301.12597).

The Q-Former is transformers' own (`Blip2QFormerModel`), so weights of released BLIP-2 checkpoints fit. The paths
`queries`, `qformer` and `projection` can be trained apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from visiglot.errors import ModelError
from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.models.connectors.memory import PhraseMemory
from visiglot.types import TextContext, VisionFeatures


@CONNECTORS.register("qformer")
class QFormerConnector(Connector):
    """Queries -> Q-Former -> one linear projection; K = `num_queries` + `pooled_tokens`.

    Args:
        num_queries: learned queries (BLIP-2: 32).
        width, layers, heads, intermediate, cross_every, dropout: of the Q-Former (defaults: BLIP-2's).
        pooled_tokens: image tokens made from the pooled vector by a perceptron, before those of the queries; BLIP-2
            has none. They give a small model a direct path from what a contrastive stage learned.
        pooled_width: hidden width of that perceptron; default: four times the pooled vector's.
        pooled_phrases: make those tokens from a `PhraseMemory` of this size instead of a perceptron.
        normalise: put patches through a layer norm first, for encoders that don't end in one (convolutional ones);
            BLIP-2's encoder does. The pooled vector always passes one.
    """

    reading = ("queries", "qformer", "norm")

    def __init__(
        self,
        vision_width: int,
        text_width: int,
        *,
        num_queries: int = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        intermediate: int | None = None,
        cross_every: int = 2,
        dropout: float = 0.1,
        pooled_tokens: int = 0,
        pooled_width: int | None = None,
        pooled_phrases: int | None = None,
        normalise: bool = False,
    ) -> None:
        super().__init__(vision_width, text_width)
        if width % heads:
            raise ModelError(f"connector qformer: width {width} is no multiple of heads {heads}")
        self.num_queries = num_queries
        self.pooled_tokens = pooled_tokens
        config = Blip2QFormerConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate or 4 * width,
            cross_attention_frequency=cross_every,
            encoder_hidden_size=vision_width,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        self.queries = nn.Parameter(torch.empty(1, num_queries, width).normal_(std=config.initializer_range))
        self.qformer = Blip2QFormerModel._from_config(config)
        self.projection = nn.Linear(width, text_width)
        self.norm = nn.LayerNorm(vision_width) if normalise else None
        self.pooled: nn.Module | None = None
        if pooled_phrases and (pooled_width or not pooled_tokens):
            raise ModelError("connector qformer: pooled_phrases needs pooled_tokens, and excludes pooled_width")
        if pooled_phrases:
            self.pooled = PhraseMemory(vision_width, text_width, pooled_phrases, pooled_tokens)
        elif pooled_tokens:
            hidden = pooled_width or 4 * vision_width
            self.pooled = nn.Sequential(
                nn.LayerNorm(vision_width),
                nn.Linear(vision_width, hidden),
                nn.GELU(),
                nn.Linear(hidden, pooled_tokens * text_width),
                nn.Unflatten(1, (pooled_tokens, text_width)),
            )

    @property
    def memory(self) -> PhraseMemory | None:
        """Where the first image tokens come from, if from a memory."""
        return self.pooled if isinstance(self.pooled, PhraseMemory) else None

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """Queries and pooled tokens, however many patches there are."""
        return self.num_queries + self.pooled_tokens

    def read(self, features: VisionFeatures) -> VisionFeatures:
        """[I, N, Dv] -> [I, num_queries, width]: what the queries are after the Q-Former."""
        count = features.patches.shape[0]
        patches = features.patches if self.norm is None else self.norm(features.patches)
        queries = self.qformer(
            query_embeds=self.queries.expand(count, -1, -1), encoder_hidden_states=patches
        ).last_hidden_state
        return VisionFeatures(queries, features.pooled, read=True)

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, N, Dv], or what `read` made of it, -> [I, K, D]."""
        read = features if features.read else self.read(features)
        tokens: Tensor = self.projection(read.patches)
        if self.pooled is not None:
            tokens = torch.cat([self.pooled(features.pooled), tokens], dim=1)
        return tokens
