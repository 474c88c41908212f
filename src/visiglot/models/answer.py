"""Prompts about pictures in, answers out: each picture encoded once, the prompts of all pictures decoded together.

`VisionLanguageModel.generate`, captioning, evaluation and serving all ask through `Answering`.

Shapes: N patches, Dv vision width, n pictures of one prompt, H and W pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from visiglot.errors import ModelError, VisiglotError
from visiglot.images import as_shown, load_image
from visiglot.models import decode
from visiglot.models.decode import Answer, Decoding, Row
from visiglot.render import render
from visiglot.types import Example, ImageRef, Sample, VisionFeatures

if TYPE_CHECKING:
    from PIL.Image import Image

    from visiglot.models.processor import VisiglotProcessor

MAX_BATCH_TOKENS = 16384
"""Tokens of prompts and answers that are decoded together, see `decode.cost`."""

PICTURES_PER_PASS = 32
"""Pictures that the encoder sees at once."""

ROWS_PER_WINDOW = 512
"""Requests that are looked at together for pictures to encode, at most."""

FEATURE_BYTES = 256 * 2**20
"""Of features that are kept for requests to come."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to be answered.

    Args:
        key: its name; no two of the requests that are asked together have the same.
        example: pictures and turns. An answer that stands last is left out.
        decoding: its own settings.
    """

    key: str
    example: Example
    decoding: Decoding


class Answering:
    """Answers requests with one model, whose weights must not change meanwhile.

    A picture is told by its bytes and encoded once, as long as its features are kept: they are, until features of
    `feature_bytes` that were used since would take their place.

    Args:
        model: a VisionLanguageModel in evaluation mode.
        max_batch_tokens: budget of what is decoded together. A larger prompt is decoded alone.
        opened: pictures that are in memory, by the name of their reference; all others are read.

    Attributes:
        pivot: whether the model's answers begin with the question in English, see `visiglot.data.tasks.pivot`.

    Raises:
        ModelError: the model is in training mode.
    """

    def __init__(
        self,
        model: Any,
        processor: VisiglotProcessor,
        *,
        max_batch_tokens: int = MAX_BATCH_TOKENS,
        opened: Mapping[str, Image] | None = None,
        feature_bytes: int = FEATURE_BYTES,
    ) -> None:
        if model.training:
            raise ModelError(
                "the model is in training mode: its dropout would disturb the answers", hint="Call model.eval() first."
            )
        self._model = model
        self._processor = processor
        self._spec = processor.spec()
        self.pivot = bool(model.config.pivot)
        self._max_batch_tokens = max_batch_tokens
        self._opened = opened or {}
        self._features = FeatureStore(feature_bytes)

    def answer(self, requests: Iterable[Request]) -> Iterator[tuple[str, Answer | VisiglotError]]:
        """(key, answer or why there is none) of each request, in the order in which they finish.

        Requests are taken when there is room for them, so they may be a stream without end. A picture that can't be
        read, or a prompt that is too long, costs only the requests that it belongs to.

        Raises:
            ModelError: the LLM can't be decoded at all.
        """
        failed: list[tuple[str, VisiglotError]] = []
        for found in self._decode(self._rows(requests, failed)):
            yield from failed
            failed.clear()
            yield found
        yield from failed

    def stream(self, request: Request) -> Iterator[str]:
        """The answer of one request piece by piece, as whole characters; with beams in one piece.

        Raises:
            VisiglotError: a picture can't be read, or the prompt doesn't fit. Raised at once.
        """
        failed: list[tuple[str, VisiglotError]] = []
        rows = list(self._rows([request], failed))
        if failed:
            raise failed[0][1]
        return decode.Decoder(self._model, self._processor).stream(rows[0])

    # --- requests to rows ---

    def _rows(self, requests: Iterable[Request], failed: list[tuple[str, VisiglotError]]) -> Iterator[Row]:
        """Rendered requests with the features of their pictures; `failed` gets those that can't be asked."""
        for window in self._windows(requests, failed):
            pictures = [ref for _, sample in window for ref in sample.images]
            features, errors = self._encode(pictures)
            joined: dict[tuple[str, ...], VisionFeatures | None] = {(): None}
            for request, sample in window:
                keys = tuple(map(self._key, sample.images))
                error = next((errors[pair] for pair in zip(keys, _names(sample)) if pair in errors), None)
                if error is not None:
                    failed.append((request.key, error))
                    continue
                if keys not in joined:  # one object for all rows that show the same, which are then embedded together
                    joined[keys] = join_features([features[key] for key in keys])
                yield Row(request.key, sample, joined[keys], request.decoding)

    def _windows(
        self, requests: Iterable[Request], failed: list[tuple[str, VisiglotError]]
    ) -> Iterator[list[tuple[Request, Sample]]]:
        """Rendered requests, cut where there are enough pictures to encode, or enough requests."""
        window: list[tuple[Request, Sample]] = []
        fresh: set[str] = set()
        for request in requests:
            try:
                sample = render(request.example, self._spec, complete=True)
            except VisiglotError as error:
                failed.append((request.key, error))
                continue
            window.append((request, sample))
            fresh.update(key for key in map(self._key, sample.images) if key not in self._features)
            if len(fresh) >= PICTURES_PER_PASS or len(window) >= ROWS_PER_WINDOW:
                yield window
                window, fresh = [], set()
        if window:
            yield window

    # --- pictures ---

    def _encode(
        self, refs: Iterable[ImageRef]
    ) -> tuple[dict[str, VisionFeatures], dict[tuple[str, str], VisiglotError]]:
        """By key the features [1, N, Dv] of each picture, and by key and name why one can't be read."""
        found: dict[str, VisionFeatures] = {}
        errors: dict[tuple[str, str], VisiglotError] = {}
        waiting: dict[str, Tensor] = {}
        for ref in refs:
            key = self._key(ref)
            if key in found or key in waiting or (key, ref.name) in errors:
                continue
            kept = self._features.get(key)
            if kept is not None:
                found[key] = kept
                continue
            try:
                waiting[key] = self._processor.pixel_values([self._open(ref)])
            except VisiglotError as error:
                errors[key, ref.name] = error
            if len(waiting) == PICTURES_PER_PASS:
                found.update(self._see(waiting))
                waiting.clear()
        if waiting:
            found.update(self._see(waiting))
        return found, errors

    def _see(self, pixels: Mapping[str, Tensor]) -> dict[str, VisionFeatures]:
        """Pixels [1, 3, H, W] -> features [1, N, Dv], in one pass."""
        found = encode_pictures(self._model, pixels)
        for key, features in found.items():
            self._features.put(key, features)
        return found

    def _open(self, ref: ImageRef) -> Image:
        if self._is_opened(ref):
            return as_shown(self._opened[ref.name], ref.name)
        return load_image(ref)

    def _is_opened(self, ref: ImageRef) -> bool:
        return ref.path is None and ref.name in self._opened

    def _key(self, ref: ImageRef) -> str:
        """Equal for pictures that are the same."""
        if self._is_opened(ref):
            return ref.name
        try:
            return ref.key
        except OSError:
            return str(ref.path)  # it can't be read, which `load_image` will say

    # --- rows to answers ---

    def _decode(self, rows: Iterator[Row]) -> Iterator[tuple[str, Answer | VisiglotError]]:
        """Answers to `rows`. When the decoder fails, the halves of what it held are tried, so that one bad row costs
        only itself; then it goes on with the rest."""
        broken: list[VisiglotError] = []
        while True:
            held: dict[str, Row] = {}
            source = _noted(rows, held, broken)
            try:
                for key, answer in decode.generate(
                    self._model, self._processor, source, max_batch_tokens=self._max_batch_tokens
                ):
                    del held[key]
                    yield key, answer
            except VisiglotError as error:
                if not held:
                    raise
                failure = error
            else:
                assert not held, f"the decoder must answer each row or say why not: {list(held)}"
                if broken:
                    raise broken[0]
                return
            left = list(held.values())
            if len(left) == 1:
                yield left[0].key, failure
            else:
                middle = (len(left) + 1) // 2
                yield from self._decode(iter(left[:middle]))
                yield from self._decode(iter(left[middle:]))


class FeatureStore:
    """Features by picture, at most `limit` bytes of them; the longest unused ones go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, VisionFeatures] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def get(self, key: str) -> VisionFeatures | None:
        """The features of a picture, which then count as just used; None when they aren't kept (any more)."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: str, features: VisionFeatures) -> None:
        """Keep the features of a picture that isn't there yet, unless they alone are too many."""
        self._kept[key] = features
        self._bytes += _size(features)
        while self._bytes > self._limit:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


@torch.no_grad()
def encode_pictures(model: Any, pixels: Mapping[str, Tensor]) -> dict[str, VisionFeatures]:
    """Pixels [1, 3, H, W] by picture -> features [1, N, Dv], in one pass. Each is a tensor of its own, so it can go."""
    features = model.encode_images(torch.cat(list(pixels.values())).to(model.device))
    found = {}
    for index, key in enumerate(pixels):
        one = slice(index, index + 1)
        found[key] = features.like(features.patches[one].clone(), features.pooled[one].clone())
    return found


def row_seed(seed: int, *facts: object) -> int:
    """The seed of one answer's draws: follows from the seed of all and from facts (JSON) that tell the answer apart, so
    that it doesn't depend on what is asked beside it."""
    told = hashlib.sha256(json.dumps([seed, *facts]).encode()).digest()
    return int.from_bytes(told[:8], "big") >> 1


def _noted(rows: Iterator[Row], held: dict[str, Row], broken: list[VisiglotError]) -> Iterator[Row]:
    """`rows`, each written into `held` when it is taken. An error of theirs goes into `broken` and ends them, so that
    it isn't taken for the decoder's."""
    try:
        for row in rows:
            held[row.key] = row
            yield row
    except VisiglotError as error:
        broken.append(error)


def _names(sample: Sample) -> list[str]:
    return [ref.name for ref in sample.images]


def _size(features: VisionFeatures) -> int:
    return int(features.patches.nbytes + features.pooled.nbytes)


def join_features(features: Sequence[VisionFeatures]) -> VisionFeatures:
    """Features [1, N, Dv] of n pictures as one: [n, N, Dv]."""
    if len(features) == 1:
        return features[0]
    patches, pooled = [f.patches for f in features], [f.pooled for f in features]
    return features[0].like(torch.cat(patches), torch.cat(pooled))
