"""Write the answer: next-token cross-entropy over the supervised tokens, with or without pictures in the row.

Option `consistency` adds a regulariser that is in none of the papers that the recipes follow, LRM-LLaVA's included: an
answer should be as likely whether the question is asked in its own language or in English.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from visiglot.config import Section, TrainSection
from visiglot.models.language_model import linear_head
from visiglot.train.loss import chunked_cross_entropy, chunked_symmetric_kl, linear_cross_entropy
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss, parse_options
from visiglot.types import Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import TargetStates, VisionLanguageModel


class GenerateOptions(Section):
    """Options of objective generate."""

    consistency: float = Field(
        0.0,
        ge=0,
        description="weight of the symmetric KL divergence between the distributions of an answer after its question "
        "and after that of its twin, at each supervised token; not in the paper. It needs a task with `twins`, whose "
        "rows are then trained beside their twins",
    )


@OBJECTIVES.register("generate")
class Generate(Objective):
    """Cross-entropy of each supervised token, given the tokens before it and the row's pictures."""

    row_by_row = any_split = True

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.consistency = parse_options("generate", GenerateOptions, options).consistency
        self.needs_twins = self.consistency > 0
        self.head_chunk = train.head_chunk

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row counts its supervised tokens."""
        targets = model.target_states(batch)  # states [P, D], labels [P], rows [P]
        losses = self.losses(model, targets)  # [P]
        if self.needs_twins and batch.twins:
            losses = losses + self.consistency / 2 * self.differences(model, batch, targets)
        rows = len(batch.ids)
        return ObjectiveLoss(
            sum=losses.sum(),
            rows=losses.new_zeros(rows).index_add(0, targets.rows, losses.detach()),
            counts=torch.bincount(targets.rows, minlength=rows),
        )

    def losses(self, model: VisionLanguageModel, targets: TargetStates) -> Tensor:
        """Negative log-likelihood of each supervised token: [P]."""
        plain = linear_head(model.language_model, targets.states)
        if plain is None or any(parameter.requires_grad for parameter in plain[0].parameters()):
            return chunked_cross_entropy(model.head, targets.states, targets.labels, self.head_chunk)
        return linear_cross_entropy(*plain, targets.labels, self.head_chunk)

    def differences(self, model: VisionLanguageModel, batch: Batch, targets: TargetStates) -> Tensor:
        """How differently an answer is said after its twin's question, at each supervised position: [P].

        A pair's divergence stands at both of its rows; 0 in rows without a twin.
        """
        first, second = (torch.tensor(rows, device=targets.rows.device) for rows in zip(*batch.twins))
        # a row's positions follow each other in their order, and twins are supervised at the same ones
        one, other = (torch.cat([(targets.rows == row).nonzero()[:, 0] for row in rows]) for rows in (first, second))
        found = chunked_symmetric_kl(model.head, targets.states[one], targets.states[other], self.head_chunk)
        return found.new_zeros(len(targets.rows)).index_add(0, torch.cat([one, other]), torch.cat([found, found]))

    def count(self, samples: Sequence[Sample]) -> int:
        """Supervised tokens."""
        return sum(row.num_targets for row in self.rows(samples))
