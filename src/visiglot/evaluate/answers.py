"""Who is asked: the seam between a benchmark and whatever answers it, and the first of them, a Visiglot model.

The others: `visiglot.evaluate.stock` (any model of transformers), `visiglot.evaluate.chat` (an endpoint).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from visiglot.errors import VisiglotError
from visiglot.evaluate.benchmark import Benchmark, Settings
from visiglot.prompts import placed, placing_of
from visiglot.types import Example, ImageRef, Message

if TYPE_CHECKING:
    from torch import Tensor

    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel


class Answerer(Protocol):
    """Something that answers examples."""

    @property
    def name(self) -> str:
        """What the user called it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever may change an answer, settings apart."""
        ...

    @property
    def device(self) -> str: ...

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        """(index of the example, its answer or why there is none), in any order, each index once.

        The error of an example that has none is given, not raised; its message and hint go into the result file.
        """
        ...

    def rank(self, examples: Sequence[Example]) -> Iterator[tuple[int, tuple[float, ...] | VisiglotError]]:
        """(index of the example, the log-likelihood of each of its choices or why there is none), likewise.

        Raises:
            EvaluationError: it can't say how likely a given answer is.
        """
        ...


class ModelAnswerer:
    """A Visiglot model. Every picture among the examples of a call is read and encoded once.

    Args:
        name: what the user called the model.
        fingerprint: of the model, where the caller knows it; else computed from the weights.
        max_batch_tokens: token budget of the decoder.

    Attributes:
        pivot: whether answers begin with the question in English.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        processor: VisiglotProcessor,
        *,
        name: str,
        fingerprint: str | None = None,
        max_batch_tokens: int,
    ) -> None:
        from visiglot.models.answer import Answering

        self._model, self._processor, self._max_batch_tokens = model.eval(), processor, max_batch_tokens
        self._answering = Answering(model, processor, max_batch_tokens=max_batch_tokens)
        self._placing = placing_of(model.config, processor)
        self.device = str(model.device)
        self.pivot = bool(model.config.pivot)
        self.name = name
        self.fingerprint = fingerprint or fingerprint_model(model, processor)

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        """Answers in the order in which they finish.

        Pictures behind the words of a turn stand before them where the model learned that. A picture that can't be
        read, or an example that is too long, costs only the examples that it stands in.
        """
        from visiglot.models.answer import Request
        from visiglot.models.decode import Decoding

        decoding = Decoding(**asdict(settings))
        requests = [
            Request(str(index), placed(example, self._placing), decoding) for index, example in enumerate(examples)
        ]
        for key, found in self._answering.answer(requests):
            yield int(key), found if isinstance(found, VisiglotError) else found.text

    def rank(self, examples: Sequence[Example]) -> Iterator[tuple[int, tuple[float, ...] | VisiglotError]]:
        """See `visiglot.evaluate.ranking`."""
        from visiglot.evaluate.ranking import rank_choices

        return rank_choices(
            self._model, self._processor, examples, self._placing, max_batch_tokens=self._max_batch_tokens
        )

    def record_routing(self, benchmark: Benchmark, languages: Sequence[str], out: Path, **options: Any) -> None:
        """See `visiglot.evaluate.routing`; nothing for a model without experts."""
        from visiglot.evaluate.routing import record_routing

        record_routing(self._model, self._processor, benchmark, languages, out, model_hash=self.fingerprint, **options)

    def record_modality_gap(self, benchmark: Benchmark, languages: Sequence[str], out: Path, **options: Any) -> None:
        """See `visiglot.evaluate.modality_gap`."""
        from visiglot.evaluate.modality_gap import record_modality_gap

        model, processor = self._model, self._processor
        record_modality_gap(model, processor, benchmark, languages, out, model_hash=self.fingerprint, **options)


def asked_turns(example: Example) -> tuple[Message, ...]:
    """The turns that are put to a model: all but an answer that stands last."""
    return example.messages[:-1] if example.messages[-1].role == "assistant" else example.messages


def error_line(error: VisiglotError) -> str:
    """What is wrong and what to do about it in one line, as rows of answers and predictions keep it."""
    said = error.message.replace("\n", " ")
    return f"{said}. {error.hint}" if error.hint else said


def picture_id(ref: ImageRef) -> str:
    """Equal for references to one picture: its path, or the hash of its bytes where it has none."""
    return str(ref.path) if ref.path is not None else ref.key


def fingerprint_model(model: VisionLanguageModel, processor: VisiglotProcessor) -> str:
    """SHA-256 of the weights, the vocabulary, the template and the preprocessing, and where pictures stand unless it is
    behind the words: all that makes an answer."""
    spec = processor.spec()
    facts = {
        "layout": spec.layout,
        "image_token": [spec.image_token, spec.image_token_id, spec.tokens_per_image],
        "template": [spec.template.name, dict(spec.template.before), dict(spec.template.after)],
        "ids": [spec.prefix_ids, spec.suffix_ids, spec.end_ids],
        "pixels": processor.fingerprint(),
        "vocabulary": sorted(processor.tokenizer.get_vocab().items()),
        "connector": model.config.connector,
    }
    if spec.template.start:
        facts["start"] = spec.template.start
    if model.config.image_first:
        facts["image_first"] = model.config.image_gap
    if model.config.pivot:
        facts["pivot"] = True
    return hash_state(model.state_dict(), facts)


def hash_state(state: Mapping[str, Tensor], facts: Mapping[str, object]) -> str:
    """SHA-256 of facts (JSON) and of tensors with their names, in the order of the names."""
    import torch

    told = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(state.items()):
        told.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        told.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return told.hexdigest()
