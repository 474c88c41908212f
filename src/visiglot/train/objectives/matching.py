"""Say whether a text belongs to a picture: a binary classifier with hard negatives of the batch.

Image-text matching of BLIP-2's first stage (Li et al., 2023, arXiv 2301.12597; the drawing of negatives by similarity
is ALBEF's, Li et al., 2021, arXiv 2107.07651). The fusion is a small head over one vector of the picture and one of the
text, so it works with every connector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from visiglot.config import Section, TrainSection
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss, parse_options, refuse_missing_pictures
from visiglot.train.objectives.answers import read_answers
from visiglot.train.objectives.contrastive import image_states, image_width, pair_table
from visiglot.types import Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


class MatchingOptions(Section):
    """Options of objective matching."""

    image: Literal["vision", "connector"] = Field("connector", description="what stands for a picture")
    width: int = Field(256, ge=1, description="of the space that pictures and texts meet in")
    temperature: float = Field(0.1, gt=0, description="of the draw of negatives; smaller is harder")


@OBJECTIVES.register("matching")
class Matching(Objective):
    """Whether an answer belongs to a picture, against the wrong ones of the batch that look most right."""

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        chosen = parse_options("matching", MatchingOptions, options)
        self.image: Literal["vision", "connector"] = chosen.image
        self.temperature = chosen.temperature
        self.spec = spec
        self.image_projection = nn.Linear(image_width(model, chosen.image), chosen.width)
        self.text_projection = nn.Linear(model.connector.text_width, chosen.width)
        self.classifier = nn.Sequential(
            nn.Linear(3 * chosen.width, chosen.width), nn.GELU(), nn.Linear(chosen.width, 1)
        )

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row, of one picture and one answer, counts 1."""
        answers = read_answers(batch, self.spec)
        pictures = self.image_projection(image_states(model, batch, self.image)).float()  # [I, W]
        texts = self.text_projection(model.text_states(answers.ids, answers.mask)).float()  # [T, W]
        picture_of_row = batch.slot_image[batch.slot_row.argsort()]  # [R]
        text_of_row = answers.of_row
        with torch.no_grad():
            likeness = normalize(pictures, dim=-1) @ normalize(texts, dim=-1).T / self.temperature  # [I, T]
            wrong = ~pair_table(picture_of_row, text_of_row, len(pictures), len(texts))
            wrong_text, text_found = draw_negatives(likeness[picture_of_row], wrong[picture_of_row])
            wrong_picture, picture_found = draw_negatives(likeness.T[text_of_row], wrong.T[text_of_row])
        right = self.judge(pictures[picture_of_row], texts[text_of_row], belongs=True)
        other_text = self.judge(pictures[picture_of_row], texts[wrong_text], belongs=False) * text_found
        other_picture = self.judge(pictures[wrong_picture], texts[text_of_row], belongs=False) * picture_found
        losses = (right + other_text + other_picture) / (1 + text_found + picture_found)  # [R]
        return ObjectiveLoss(sum=losses.sum(), rows=losses.detach(), counts=torch.ones_like(text_of_row))

    def judge(self, pictures: Tensor, texts: Tensor, *, belongs: bool) -> Tensor:
        """Binary cross-entropy [R] of pairs [R, W] x [R, W]."""
        verdict = self.classifier(torch.cat([pictures, texts, pictures * texts], dim=-1)).squeeze(-1).float()
        target = torch.full_like(verdict, float(belongs))
        return binary_cross_entropy_with_logits(verdict, target, reduction="none")

    def count(self, samples: Sequence[Sample]) -> int:
        """Rows."""
        return len(samples)

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises TrainingError also at a row that shows no picture, or several."""
        super().check(samples)
        refuse_missing_pictures(samples, "matching")


def draw_negatives(likeness: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
    """For each row one candidate that is wrong for it, the likelier the more it looks right.

    Args:
        likeness: [R, C] scores of the candidates.
        wrong: [R, C] True where the candidate may be drawn.

    Returns:
        index [R] of the candidate, and found [R] 1.0 where there was one (0.0: the index means nothing).
    """
    found = wrong.any(dim=1)
    chances = likeness.masked_fill(~wrong, -torch.inf).where(found[:, None], torch.zeros_like(likeness)).softmax(dim=1)
    return torch.multinomial(chances, 1).squeeze(1), found.to(likeness.dtype)
