"""Write the answer: next-token cross-entropy over the supervised tokens, with or without pictures in the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from visiglot.config import Section, TrainSection
from visiglot.train.loss import chunked_cross_entropy
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss, parse_options
from visiglot.types import Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


class GenerateOptions(Section):
    """Options of objective generate: none so far."""


@OBJECTIVES.register("generate")
class Generate(Objective):
    """Cross-entropy of each supervised token, given the tokens before it and the row's pictures."""

    row_by_row = True

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        parse_options("generate", GenerateOptions, options)
        self.head_chunk = train.head_chunk

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row counts its supervised tokens."""
        targets = model.target_states(batch)  # states [P, D], labels [P], rows [P]
        losses = chunked_cross_entropy(model.head, targets.states, targets.labels, self.head_chunk)  # [P]
        rows = len(batch.ids)
        return ObjectiveLoss(
            sum=losses.sum(),
            rows=losses.new_zeros(rows).index_add(0, targets.rows, losses.detach()),
            counts=torch.bincount(targets.rows, minlength=rows),
        )

    def count(self, samples: Sequence[Sample]) -> int:
        """Supervised tokens."""
        return sum(sample.num_targets for sample in samples)
