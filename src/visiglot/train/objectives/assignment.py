"""Show the words themselves: image token k is assigned the k-th word piece of the caption.

The language model isn't run at all; only its table of word embeddings is read, so a step costs next to nothing and the
connector starts where the language model can read it, in every language it reads that caption's language for. Assigning
visual tokens to frozen word embeddings is the idea of VLAP (Park et al., "Bridging Vision and Language Spaces with
Assignment Prediction", ICLR 2024), which does it by optimal transport over the batch; here the caption says which word.
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
from visiglot.types import IGNORE, Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


class AssignmentOptions(Section):
    """Options of objective assignment."""

    contrast: float = Field(0.3, ge=0, description="weight of the softmax over all words beside the distance")
    temperature: float = Field(0.06, gt=0, description="of that softmax, relative to a word's mean square")


@OBJECTIVES.register("assignment")
class Assignment(Objective):
    """Each image token lies on the word embedding of the caption's piece at its place, the end marker's behind it."""

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.options = parse_options("assignment", AssignmentOptions, options)
        self.spec = spec
        self.tokens = spec.tokens_per_image

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row, of one picture and one caption, counts 1; a caption's pieces beyond the K-th aren't taught.

        The squared distance alone would settle between words that look alike; the softmax alone grows without bound.
        """
        features = batch.features
        if features is None:
            assert batch.pixel_values is not None
            features = model.encode_images(batch.pixel_values)
        tokens = model.slot_tokens(batch, features)[batch.slot_row.argsort()].float()  # [R, K, D]
        table: Tensor = model.language_model.get_input_embeddings().weight
        with torch.no_grad():  # looked up, not read, since some models scale what they look up
            words = model.word_embeddings(torch.arange(len(table), device=table.device)).float()  # [V, D]
        squares = words.square().sum(1)  # [V]
        scale = squares.mean()
        targets = self.pieces(batch.labels)  # [R, K]
        losses = (tokens - words[targets]).square().sum(-1) / scale  # [R, K]
        if self.options.contrast:
            # softmax over -|token - word|^2 / (2 temperature), without the part that all words share
            logits = (tokens @ words.T - squares / 2) / (self.options.temperature * scale)  # [R, K, V]
            nearest = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            losses = losses + self.options.contrast * nearest.view_as(targets)
        losses = losses.mean(1)
        return ObjectiveLoss(sum=losses.sum(), rows=losses.detach(), counts=torch.ones_like(targets[:, 0]))

    def pieces(self, labels: Tensor) -> Tensor:
        """The first K supervised ids of each row [R, L], the end marker where it has fewer: [R, K]."""
        end = self.spec.end_ids[0] if self.spec.end_ids else self.spec.pad_id
        rows = []
        for row in labels.tolist():
            ids = [label for label in row if label != IGNORE][: self.tokens]
            rows.append(ids + [end] * (self.tokens - len(ids)))
        return torch.tensor(rows, device=labels.device)

    def count(self, samples: Sequence[Sample]) -> int:
        """Rows."""
        return len(samples)

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises TrainingError also at a row that shows no picture, or several."""
        super().check(samples)
        refuse_missing_pictures(samples, "assignment")
