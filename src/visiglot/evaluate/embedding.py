"""A model of ours that embeds: by the two projections that a contrastive stage trained beside it.

`visiglot.evaluate.dual` has the CLIP-like models of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from visiglot.errors import VisiglotError
from visiglot.evaluate.answers import ModelAnswerer, hash_state
from visiglot.evaluate.retrieval import Vectors
from visiglot.images import load_image
from visiglot.types import ImageRef, VisionFeatures

if TYPE_CHECKING:
    from PIL.Image import Image

    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

PICTURES, TEXTS = 32, 128
"""Pictures, or texts, in a forward pass."""


def in_batches(
    images: Sequence[ImageRef], rows: int, embed: Callable[[list[Image]], Tensor]
) -> Iterator[tuple[int, Vectors | VisiglotError]]:
    """Read `rows` pictures at a time and embed them; those that can't be read are errors.

    Args:
        embed: pictures -> [I, W], not yet of unit length.
    """
    waiting: dict[int, Image] = {}
    for place, ref in enumerate(images):
        try:
            waiting[place] = load_image(ref)
        except VisiglotError as error:
            yield place, error
        if len(waiting) == rows:
            yield from zip(waiting, units(embed([*waiting.values()])))
            waiting = {}
    if waiting:
        yield from zip(waiting, units(embed([*waiting.values()])))


def units(vectors: Tensor) -> Vectors:
    """[R, W] of unit length, on the CPU."""
    found: Vectors = normalize(vectors.float(), dim=-1).cpu().numpy()
    return found


class Projections(Protocol):
    """What a contrastive stage trains beside a model: see `visiglot.train.objectives.contrastive`."""

    def picture_vectors(self, model: VisionLanguageModel, features: VisionFeatures) -> Tensor:
        """What an encoder saw of I pictures -> [I, W]."""
        ...

    def text_vectors(self, model: VisionLanguageModel, ids: Tensor, mask: Tensor) -> Tensor:
        """Plain texts [T, L] -> [T, W]."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]: ...


class ContrastiveAnswerer(ModelAnswerer):
    """A Visiglot model that embeds too, by the projections of its contrastive stage.

    Args:
        projections: on the model's device.
        others: as of `ModelAnswerer`.
    """

    def __init__(
        self, model: VisionLanguageModel, processor: VisiglotProcessor, projections: Projections, **others: Any
    ) -> None:
        super().__init__(model, processor, **others)
        self._processor, self._spec, self._projections = processor, processor.spec(), projections
        self.fingerprint = hash_state(projections.state_dict(), {"model": self.fingerprint})

    @torch.no_grad()
    def embed_images(self, images: Sequence[ImageRef]) -> Iterator[tuple[int, Vectors | VisiglotError]]:
        """By what stood for a picture when the projections were trained."""

        def embed(pictures: list[Image]) -> Tensor:
            pixels = self._processor.pixel_values(pictures).to(self._model.device)
            return self._projections.picture_vectors(self._model, self._model.encode_images(pixels))

        yield from in_batches(images, PICTURES, embed)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors | VisiglotError]]:
        """By the mean of the language model's states, the text framed as in training; longer texts are cut off."""
        spec = self._spec
        room = spec.max_length - len(spec.prefix_ids) - len(spec.suffix_ids)
        for start in range(0, len(texts), TEXTS):
            framed = [
                (*spec.prefix_ids, *spec.encode(text)[:room], *spec.suffix_ids) for text in texts[start : start + TEXTS]
            ]
            length = max(1, *map(len, framed))
            ids = torch.tensor([[*one, *[spec.pad_id] * (length - len(one))] for one in framed])
            mask = torch.tensor([[1] * len(one) + [0] * (length - len(one)) for one in framed])
            device = self._model.device
            vectors = self._projections.text_vectors(self._model, ids.to(device), mask.to(device))
            yield from enumerate(units(vectors), start)
