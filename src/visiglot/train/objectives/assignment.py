"""Say the words themselves: image token k is assigned the k-th word piece of the caption.

The language model isn't run at all; only its table of word embeddings is read, so a step costs next to nothing, and the
connector starts where the language model can read it, in every language that it reads that caption's language for.
Assigning visual tokens to frozen word embeddings is the idea of VLAP (Park et al., "Bridging Vision and Language Spaces
with Assignment Prediction", ICLR 2024), which does it by optimal transport over the batch; here the caption says which
word. A model whose connector has `words` shows the language model just these words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from visiglot.config import Section, TrainSection
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss, parse_options, refuse_missing_pictures
from visiglot.train.objectives.contrastive import features_of
from visiglot.types import IGNORE, Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


class AssignmentOptions(Section):
    """Options of objective assignment."""

    temperature: float = Field(0.06, gt=0, description="of the softmax over words where the connector has no `words`")


@OBJECTIVES.register("assignment")
class Assignment(Objective):
    """The word nearest to each image token is the caption's piece at its place, the end marker behind the last."""

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        chosen = parse_options("assignment", AssignmentOptions, options)
        own = model.config.connector.get("words")
        self.temperature = chosen.temperature if own is None else own
        self.spec = spec

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row, of one picture and one caption, counts 1; a caption's pieces beyond the K-th aren't taught."""
        of_slots = model.slot_tokens(batch, features_of(model, batch), as_words=False)  # [S, K, D], a slot a row
        tokens = of_slots[batch.slot_row.argsort()]  # [R, K, D]
        scores, _ = model.word_scores(tokens, self.temperature)  # [R, K, V]
        targets = self.pieces(batch.labels)  # [R, K]
        losses = cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets).mean(1)
        return ObjectiveLoss(sum=losses.sum(), rows=losses.detach(), counts=torch.ones_like(targets[:, 0]))

    def pieces(self, labels: Tensor) -> Tensor:
        """The first K supervised ids of each row [R, L], the end marker where it has fewer: [R, K]."""
        most = self.spec.tokens_per_image
        end = self.spec.end_ids[0] if self.spec.end_ids else self.spec.pad_id
        rows = []
        for row in labels.tolist():
            ids = [label for label in row if label != IGNORE][:most]
            rows.append(ids + [end] * (most - len(ids)))
        return torch.tensor(rows, device=labels.device)

    def count(self, samples: Sequence[Sample]) -> int:
        """Rows."""
        return len(samples)

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises TrainingError also at a row that shows no picture, or several."""
        super().check(samples)
        refuse_missing_pictures(samples, "assignment")
