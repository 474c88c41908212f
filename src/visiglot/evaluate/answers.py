"""Who is asked: the seam between a benchmark and whatever answers it. Here: a Visiglot model in this process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from visiglot.errors import VisiglotError
from visiglot.evaluate.benchmark import Settings
from visiglot.types import Example, ImageRef, Sample, VisionFeatures

if TYPE_CHECKING:
    from visiglot.models.decode import Row
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

PICTURES_PER_PASS = 32


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


class ModelAnswerer:
    """A Visiglot model. Every picture among the examples of a call is read and encoded once.

    Args:
        name: what the user called the model.
        fingerprint: of the model, where the caller knows it; else computed from the weights.
        max_batch_tokens: token budget of the decoder.
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
        self._model = model.eval()
        self._processor = processor
        self._spec = processor.spec()
        self._max_batch_tokens = max_batch_tokens
        self.name = name
        self.fingerprint = fingerprint or fingerprint_model(model, processor)

    @property
    def device(self) -> str:
        return str(self._model.device)

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        """Answers in the order in which rows finish; errors of reading and rendering come first.

        A picture that can't be read, or an example that is too long, costs only the examples that it stands in.
        """
        from visiglot.models.decode import Decoding, Row
        from visiglot.render import render

        decoding = Decoding(**asdict(settings))
        samples: dict[int, Sample] = {}
        for index, example in enumerate(examples):
            try:
                samples[index] = render(example, self._spec, complete=True)
            except VisiglotError as error:
                yield index, error
        encoded = self._encode({picture_id(ref): ref for sample in samples.values() for ref in sample.images})
        shared: dict[tuple[str, ...], VisionFeatures | None] = {(): None}
        rows: list[Row] = []
        for index, sample in samples.items():
            pictures = tuple(map(picture_id, sample.images))
            failed = next((found for one in pictures if isinstance(found := encoded[one], VisiglotError)), None)
            if failed is not None:
                yield index, failed
                continue
            if pictures not in shared:
                shared[pictures] = _join([f for one in pictures if isinstance(f := encoded[one], VisionFeatures)])
            rows.append(Row(str(index), sample, shared[pictures], decoding))
        yield from self._generate(rows)

    def _encode(self, refs: Mapping[str, ImageRef]) -> dict[str, VisionFeatures | VisiglotError]:
        """By the picture's id: its features ([1, N, Dv]), or why it can't be read."""
        import torch

        from visiglot.data.images import load_image

        found: dict[str, VisionFeatures | VisiglotError] = {}
        ids = list(refs)
        for start in range(0, len(ids), PICTURES_PER_PASS):
            pictures = {}
            for one in ids[start : start + PICTURES_PER_PASS]:
                try:
                    pictures[one] = load_image(refs[one])
                except VisiglotError as error:
                    found[one] = error
            if not pictures:
                continue
            pixels = self._processor.pixel_values(list(pictures.values())).to(self._model.device)
            with torch.no_grad():
                features = self._model.encode_images(pixels)
            for i, one in enumerate(pictures):
                found[one] = VisionFeatures(features.patches[i : i + 1], features.pooled[i : i + 1], features.grid)
        return found

    def _generate(self, rows: Sequence[Row]) -> Iterator[tuple[int, str | VisiglotError]]:
        """Answers to `rows`. When a batch fails, its halves are tried, so that one bad row costs only itself."""
        from visiglot.models.decode import generate

        waiting = {row.key: row for row in rows}
        failure: VisiglotError | None = None
        try:
            for key, answer in generate(self._model, self._processor, rows, max_batch_tokens=self._max_batch_tokens):
                del waiting[key]
                yield int(key), answer.text.strip()
        except VisiglotError as error:
            failure = error
        left = list(waiting.values())
        if len(rows) == 1 and left:
            yield int(left[0].key), failure or VisiglotError("the decoder gave no answer")
        elif left:
            middle = (len(left) + 1) // 2 if failure is not None else len(left)
            assert failure is not None or len(left) < len(rows), "the decoder must answer some row or say why not"
            yield from self._generate(left[:middle])
            yield from self._generate(left[middle:])


def error_line(error: VisiglotError) -> str:
    """What is wrong and what to do about it in one line, as rows of answers and predictions keep it."""
    said = error.message.replace("\n", " ")
    return f"{said}. {error.hint}" if error.hint else said


def picture_id(ref: ImageRef) -> str:
    """Equal for references to one picture: its path, or the hash of its bytes where it has none."""
    return str(ref.path) if ref.path is not None else ref.key


def fingerprint_model(model: VisionLanguageModel, processor: VisiglotProcessor) -> str:
    """SHA-256 of the weights, the vocabulary, the template and the preprocessing: all that makes an answer."""
    import torch

    spec = processor.spec()
    told = hashlib.sha256()
    facts = {
        "layout": spec.layout,
        "image_token": [spec.image_token, spec.image_token_id, spec.tokens_per_image],
        "template": [spec.template.name, dict(spec.template.before), dict(spec.template.after)],
        "ids": [spec.prefix_ids, spec.suffix_ids, spec.end_ids],
        "pixels": processor.fingerprint(),
        "vocabulary": sorted(processor.tokenizer.get_vocab().items()),
    }
    told.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        told.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        told.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return told.hexdigest()


def _join(features: Sequence[VisionFeatures]) -> VisionFeatures:
    """Several pictures' features as one: [n, N, Dv]."""
    import torch

    if len(features) == 1:
        return features[0]
    return VisionFeatures(
        torch.cat([f.patches for f in features]), torch.cat([f.pooled for f in features]), features[0].grid
    )
