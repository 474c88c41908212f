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
from visiglot.errors import TrainingError
from visiglot.train.objectives import OBJECTIVES, Objective, ObjectiveLoss, parse_options, refuse_missing_pictures
from visiglot.train.objectives.contrastive import features_of
from visiglot.types import IGNORE, Batch, PromptSpec, Sample

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel


class AssignmentOptions(Section):
    """Options of objective assignment."""

    temperature: float = Field(0.06, gt=0, description="of the softmax over words where the connector has no `words`")
    smoothing: float = Field(
        0.1, ge=0, lt=1, description="share of each target that is spread over a connector's whole phrase memory"
    )


@OBJECTIVES.register("assignment")
class Assignment(Objective):
    """The word nearest to each image token is the caption's piece at its place, the end marker behind the last.

    A connector with a phrase memory learns instead which of its phrases a caption is. Each new caption takes the free
    phrase that its picture calls for most, whose tokens become the caption's words; captions are then told apart as
    classes are. A memory whose keys come from a model with another language model so gets that one's words at once.
    """

    any_split = True
    pieces_of_phrase: Tensor
    """[M, K] the pieces that each phrase of the memory was given; -1 where it is free. Saved with the run."""

    def __init__(
        self, model: VisionLanguageModel, spec: PromptSpec, train: TrainSection, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        chosen = parse_options("assignment", AssignmentOptions, options)
        own = model.config.connector.get("words")
        self.temperature = chosen.temperature if own is None else own
        self.smoothing = chosen.smoothing
        self.spec = spec
        memory = model.connector.memory
        self.memory_tokens = 0 if memory is None else memory.tokens
        if memory is not None:
            self.register_buffer("pieces_of_phrase", torch.full((len(memory.keys), memory.tokens), -1))
        self._phrase_of: dict[tuple[int, ...], int] = {}

    def forward(self, model: VisionLanguageModel, batch: Batch) -> ObjectiveLoss:
        """A row, of one picture and one caption, counts 1; a caption's pieces beyond the K-th aren't taught."""
        features = features_of(model, batch)
        by_row = batch.slot_row.argsort()
        targets = self.pieces(batch.labels)  # [R, K]
        losses = torch.zeros(len(targets), device=targets.device)  # [R]
        if memory := model.connector.memory:
            scores = memory.scores(features.pooled)[batch.slot_image[by_row]]  # [R, M]
            phrases = self.assign_phrases(targets[:, : self.memory_tokens], scores, model)  # [R]
            losses = losses + cross_entropy(scores, phrases, reduction="none", label_smoothing=self.smoothing)
        if self.memory_tokens < targets.shape[1]:
            of_slots = model.slot_tokens(batch, features, as_words=False)  # [S, K, D], a slot a row
            tokens = of_slots[by_row, self.memory_tokens :]
            losses = losses + self.word_losses(model, tokens, targets[:, self.memory_tokens :])
        return ObjectiveLoss(sum=losses.sum(), rows=losses.detach(), counts=torch.ones_like(targets[:, 0]))

    def word_losses(self, model: VisionLanguageModel, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over a row's tokens [R, K, D] of being their pieces [R, K]: [R]."""
        scores, _ = model.word_scores(tokens, self.temperature)  # [R, K, V]
        return cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets).mean(1)

    def assign_phrases(self, pieces: Tensor, scores: Tensor, model: VisionLanguageModel) -> Tensor:
        """The phrase of the memory [R] that each row's pieces [R, K] are, those of new captions set to their words.

        A new caption takes the free phrase that the first picture shown with it calls for most, by `scores` [R, M];
        every process gives it the same. What a phrase's tokens were set to then only decays, as weights do.

        Raises:
            TrainingError: there are more captions than phrases.
        """
        if not self._phrase_of:  # a run that goes on
            known = enumerate(self.pieces_of_phrase.tolist())
            self._phrase_of = {tuple(row): phrase for phrase, row in known if row[0] >= 0}
        memory = model.connector.memory
        assert memory is not None
        rows = [tuple(row) for row in pieces.tolist()]
        new: dict[tuple[int, ...], list[float]] = {}
        for at, row in enumerate(rows):
            if row not in self._phrase_of and row not in new:
                new[row] = scores[at].tolist()
        free = set(range(len(memory.keys))).difference(self._phrase_of.values())
        for row, wanted in _of_all_processes(new).items():
            if not free:
                raise TrainingError(
                    f"the connector's memory has {len(memory.keys):,} phrases, the stage has more captions",
                    hint="Raise model.connector.options.pooled_phrases, or take a connector without.",
                )
            phrase = self._phrase_of[row] = max(free, key=wanted.__getitem__)
            free.remove(phrase)
            self.pieces_of_phrase[phrase] = torch.tensor(row, device=pieces.device)
            with torch.no_grad():
                memory.values[phrase] = model.word_embeddings(self.pieces_of_phrase[phrase]).to(memory.values.dtype)
        return torch.tensor([self._phrase_of[row] for row in rows], device=pieces.device)

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


def _of_all_processes(own: dict[tuple[int, ...], list[float]]) -> dict[tuple[int, ...], list[float]]:
    """What any process has, in one order on all of them; of what several have, the first's."""
    found: list[dict[tuple[int, ...], list[float]]] = [own]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        found = [{} for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(found, own)
    merged: dict[tuple[int, ...], list[float]] = {}
    for part in found:
        for row, wanted in part.items():
            merged.setdefault(row, wanted)
    return merged
