"""CLIP-like models of transformers: two encoders, of pictures and of texts, and vectors that meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from visiglot.errors import CheckpointError, EvaluationError, VisiglotError
from visiglot.evaluate.answers import hash_state
from visiglot.evaluate.benchmark import Settings
from visiglot.evaluate.embedding import PICTURES, TEXTS, in_batches, units
from visiglot.evaluate.retrieval import Vectors
from visiglot.types import Example, ImageRef

if TYPE_CHECKING:
    from PIL.Image import Image


def is_dual(name: str) -> bool:
    """Whether a folder's or a hub id's config is that of such a model, and of none that writes.

    Raises:
        CheckpointError: there is no config, or it can't be read.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, MODEL_MAPPING

    from visiglot.models.checkpoint.stock import load_config

    kind = type(load_config(name))
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or kind not in MODEL_MAPPING:
        return False
    made = MODEL_MAPPING[kind]
    return hasattr(made, "get_image_features") and hasattr(made, "get_text_features")


def load_dual(name: str, *, device: torch.device, dtype: torch.dtype | str) -> tuple[Any, Any]:
    """Model and processor by transformers' own classes. Code of the repository is never run.

    Args:
        name: a folder or a hub id for which `is_dual` holds.
        dtype: "auto" (as saved) or one of torch's.

    Raises:
        CheckpointError: it can't be loaded, or has no processor for pictures and words.
    """
    from transformers import AutoModel, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(name)
        model = AutoModel.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{name} can't be loaded: {error}", hint="Copy it again, or name another.") from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise CheckpointError(
            f"{name} has no processor for pictures and words",
            hint="Its folder needs preprocessor_config.json and the tokenizer's files.",
        )
    return model.to(device).eval(), processor


class DualAnswerer:
    """A model that embeds pictures and texts, and generates nothing.

    Texts are padded to the longest that the model takes: SigLIP was trained so, and those that read a mask give the
    same vectors with padding and without. Longer texts are cut off.

    Args:
        name: what the user called the model.
    """

    embeds_only = True

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self._model, self._processor = model, processor
        tokenizer = processor.tokenizer
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        positions = getattr(model.config.get_text_config(), "max_position_embeddings", tokenizer.model_max_length)
        self._length = min(positions, tokenizer.model_max_length)
        self.name = name
        self.device = str(model.device)
        facts = {
            "processor": processor.to_dict(),
            "vocabulary": sorted(tokenizer.get_vocab().items()),
            "config": model.config.to_dict(),
        }
        self.fingerprint = hash_state(model.state_dict(), facts)

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        raise self._writes_nothing()

    def rank(self, examples: Sequence[Example]) -> Iterator[tuple[int, tuple[float, ...] | VisiglotError]]:
        raise self._writes_nothing()

    @torch.no_grad()
    def embed_images(self, images: Sequence[ImageRef]) -> Iterator[tuple[int, Vectors | VisiglotError]]:
        def embed(pictures: list[Image]) -> Tensor:
            inputs = self._processor.image_processor(pictures, return_tensors="pt")
            return _vectors(self._model.get_image_features(**self._on_device(inputs)))

        yield from in_batches(images, PICTURES, embed)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors | VisiglotError]]:
        for start in range(0, len(texts), TEXTS):
            inputs = self._processor.tokenizer(
                list(texts[start : start + TEXTS]),
                padding="max_length",
                truncation=True,
                max_length=self._length,
                return_tensors="pt",
            )
            yield from enumerate(units(_vectors(self._model.get_text_features(**self._on_device(inputs)))), start)

    def _on_device(self, inputs: Any) -> dict[str, Tensor]:
        model = self._model
        return {
            key: value.to(model.device, model.dtype if value.is_floating_point() else None)
            for key, value in inputs.items()
        }

    def _writes_nothing(self) -> EvaluationError:
        return EvaluationError(
            f"{self.name} embeds pictures and texts, and writes no answers",
            hint="Ask it for retrieval (--benchmarks xtd, iglue-wit), or name a model that writes.",
        )


def _vectors(found: Any) -> Tensor:
    """[R, W]; newer versions of transformers wrap it."""
    return found if isinstance(found, Tensor) else found.pooler_output
