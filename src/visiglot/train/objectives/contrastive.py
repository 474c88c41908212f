"""Tell which text belongs to which picture: InfoNCE over the batch, both ways.

Image-text contrastive loss as in CLIP (Radford et al., 2021, arXiv 2103.00020) and BLIP-2's first stage (Li et al.,
2023, arXiv 2301.12597), with every known pair as a positive: a picture that stands in two rows is paired with both
texts, a text that names two pictures with both pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from visiglot.config import Section, TrainSection
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss, parse_options, refuse_missing_pictures
from visiglot.train.objectives.answers import read_answers
from visiglot.types import Batch, PromptSpec, Sample, VisionFeatures

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


class ContrastiveOptions(Section):
    """Options of objective contrastive."""

    image: Literal["vision", "connector"] = Field(
        "connector", description="what stands for a picture: the encoder's pooled feature, or the mean image token"
    )
    width: int = Field(256, ge=1, description="of the space that pictures and texts meet in")
    temperature: float = Field(0.07, gt=0, description="at the start; learned")
    text_hidden: int | None = Field(
        None,
        ge=1,
        description="width of a hidden layer before the texts' projection, for a frozen text model; default: none",
    )
    smoothing: float = Field(0.0, ge=0, lt=1, description="share of each target that is spread over the whole batch")


@OBJECTIVES.register("contrastive")
class Contrastive(Objective):
    """InfoNCE between a picture's vector and its answer's, both ways."""

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        chosen = parse_options("contrastive", ContrastiveOptions, options)
        self.image: Literal["vision", "connector"] = chosen.image
        self.spec = spec
        width = image_width(model, chosen.image)
        self.image_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, chosen.width))
        self.text_projection = _text_projection(model.connector.text_width, chosen.text_hidden, chosen.width)
        self.smoothing = chosen.smoothing
        self.log_scale = nn.Parameter(torch.tensor(-math.log(chosen.temperature)))

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row, of one picture and one answer, counts 1."""
        answers = read_answers(batch, self.spec)
        pictures = normalize(self.image_projection(image_states(model, batch, self.image)).float(), dim=-1)  # [I, W]
        texts = normalize(self.text_vectors(model, answers.ids, answers.mask).float(), dim=-1)  # [T, W]
        picture_of_row = batch.slot_image[batch.slot_row.argsort()]  # [R]
        pairs = pair_table(picture_of_row, answers.of_row, len(pictures), len(texts))
        scale = self.log_scale.exp().clamp(max=100)  # CLIP's limit
        losses = info_nce(scale * pictures @ texts.T, pairs, picture_of_row, answers.of_row, self.smoothing)
        return ObjectiveLoss(sum=losses.sum(), rows=losses.detach(), counts=torch.ones_like(answers.of_row))

    def picture_vectors(self, model: VisionLanguageModel, features: VisionFeatures) -> Tensor:
        """What the encoder saw of I pictures, with no prompt -> [I, W], not of unit length."""
        found: Tensor = self.image_projection(states_of_features(model, features, self.image))
        return found

    def text_vectors(self, model: VisionLanguageModel, ids: Tensor, mask: Tensor) -> Tensor:
        """Plain texts [T, L] -> [T, W], not of unit length."""
        found: Tensor = self.text_projection(model.text_states(ids, mask))
        return found

    def count(self, samples: Sequence[Sample]) -> int:
        """Rows."""
        return len(samples)

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises TrainingError also at a row that shows no picture, or several."""
        super().check(samples)
        refuse_missing_pictures(samples, "contrastive")


def _text_projection(width: int, hidden: int | None, out: int) -> nn.Module:
    if hidden is None:
        return nn.Linear(width, out)
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))


def pair_table(picture_of_row: Tensor, text_of_row: Tensor, pictures: int, texts: int) -> Tensor:
    """[I, T] True where a row of the batch pairs the picture with the text."""
    table = torch.zeros(pictures, texts, dtype=torch.bool, device=picture_of_row.device)
    table[picture_of_row, text_of_row] = True
    return table


def info_nce(
    logits: Tensor, pairs: Tensor, picture_of_row: Tensor, text_of_row: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Each row's loss [R]: half of its picture's against all texts, half of its text's against all pictures.

    A picture (a text) with several partners is asked for all of them alike. When every row has a picture and a text of
    its own, the mean of the result is CLIP's loss.

    Args:
        logits: [I, T], scaled.
        pairs: [I, T] True at positives.
        smoothing: share of each target that all others have alike (Szegedy et al., 2016, arXiv 1512.00567).
    """
    positives = pairs.to(logits.dtype)

    def loss(dim: int) -> Tensor:
        targets = positives / positives.sum(dim=dim, keepdim=True) * (1 - smoothing) + smoothing / pairs.shape[dim]
        return -(targets * logits.log_softmax(dim=dim)).sum(dim=dim)

    of_pictures, of_texts = loss(1), loss(0)  # [I], [T]
    return (of_pictures[picture_of_row] + of_texts[text_of_row]) / 2


def features_of(model: VisionLanguageModel, batch: Batch) -> VisionFeatures:
    """What the encoder sees in the I pictures of `batch`: from the cache if it came with it, else encoded now."""
    if batch.features is not None:
        return batch.features
    assert batch.pixel_values is not None
    return model.encode_images(batch.pixel_values)


def image_states(model: VisionLanguageModel, batch: Batch, image: Literal["vision", "connector"]) -> Tensor:
    """One vector for each picture of `batch`: [I, Dv] from the encoder or [I, D] from the connector.

    A connector that reads the prompt gives a picture one vector for each row that shows it; their mean stands for it.
    """
    features = features_of(model, batch)
    if image == "vision" or not model.connector.needs_context:
        return states_of_features(model, features, image)
    of_slots = model.slot_tokens(batch, features).mean(dim=1)  # [S, D]
    sums = of_slots.new_zeros(len(features.patches), of_slots.shape[1]).index_add(0, batch.slot_image, of_slots)
    shown = torch.bincount(batch.slot_image, minlength=len(features.patches)).clamp(min=1)
    return sums / shown[:, None]


def states_of_features(
    model: VisionLanguageModel, features: VisionFeatures, image: Literal["vision", "connector"]
) -> Tensor:
    """The same of a connector that reads no prompt: [I, Dv] or [I, D]."""
    return features.pooled if image == "vision" else model.image_tokens(features).mean(dim=1)


def image_width(model: VisionLanguageModel, image: Literal["vision", "connector"]) -> int:
    return model.connector.vision_width if image == "vision" else model.connector.text_width
