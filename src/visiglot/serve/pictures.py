"""The pictures of asks: opened beside the model, encoded together, their features kept by content.

Shapes: n pictures of an ask, N patches, Dv vision width, H and W pixels.

What is kept is what the encoder says, which no prompt changes; a connector runs for each prompt as the model does it
everywhere. So one that reads the prompt needs no entry for each prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from visiglot.images import load_image
from visiglot.models.answer import PICTURES_PER_PASS, FeatureStore, encode_pictures, join_features
from visiglot.serve.job import Job
from visiglot.types import ImageRef, VisionFeatures

AT_ONCE = 8
"""Pictures that are being opened at a time. The rest keep their turns: whose they are is looked at again and again."""


@dataclass
class _Opening:
    """A picture that is opened beside the model: its pixels [1, 3, H, W], or why there are none, when it is done."""

    pixels: Tensor | None = None
    error: Exception | None = None
    task: Future[None] | None = None

    @property
    def done(self) -> bool:
        return self.pixels is not None or self.error is not None


class Pictures:
    """Pixels of asks that are about to start, and features.

    The model's thread calls everything here; `pool` opens the pictures and calls `opened` after each.

    Args:
        feature_bytes: of features that are kept for asks to come.
    """

    def __init__(
        self, model: Any, processor: Any, pool: Executor, feature_bytes: int, opened: Callable[[], None]
    ) -> None:
        self._model = model
        self._processor = processor
        self._pool = pool
        self._done = opened
        self._opening: dict[tuple[str, str], _Opening] = {}
        self.store = FeatureStore(feature_bytes)
        self.hits = 0
        self.misses = 0

    def prepare(self, jobs: Iterable[Job]) -> None:
        """Open what `jobs` show and isn't known, in their order; pixels that none of them shows are forgotten."""
        shown = {(key, ref.name): ref for job in jobs for key, ref in job.pictures if key not in self.store}
        for place in self._opening.keys() - shown.keys():
            task = self._opening.pop(place).task
            if task is not None:
                task.cancel()
        under_way = sum(not opening.done for opening in self._opening.values())
        for place, ref in shown.items():
            if place not in self._opening and under_way < AT_ONCE:
                self._opening[place] = opening = _Opening()
                opening.task = self._pool.submit(self._open, ref, opening)
                under_way += 1

    def are_ready(self, job: Job) -> bool:
        """Whether all pictures of `job` can be encoded now.

        Raises:
            Exception: one can't be read; as it was raised when it was opened.
        """
        ready = True
        for key, ref in job.pictures:
            if key in self.store:
                continue
            opening = self._opening.get((key, ref.name))
            if opening is not None and opening.error is not None:
                raise opening.error
            ready = ready and opening is not None and opening.done
        return ready

    def unseen(self, jobs: Iterable[Job]) -> int:
        """How many pictures must be encoded for `jobs`."""
        return len({key for job in jobs for key, _ in job.pictures if key not in self.store})

    def features(self, jobs: Sequence[Job]) -> list[VisionFeatures | None]:
        """Of each of `jobs` the features [n, N, Dv] of its pictures; those that show the same get one object."""
        found: dict[str, VisionFeatures] = {}
        fresh: dict[str, Tensor] = {}
        for job in jobs:
            for key, ref in job.pictures:
                kept = found.get(key) or self.store.get(key)
                if kept is not None:
                    found[key] = kept
                    self.hits += 1
                elif key in fresh:
                    self.hits += 1
                else:
                    fresh[key] = self._pixels(key, ref)
                    self.misses += 1
        keys = list(fresh)
        for start in range(0, len(keys), PICTURES_PER_PASS):
            part = {key: fresh.pop(key) for key in keys[start : start + PICTURES_PER_PASS]}
            for key, features in encode_pictures(self._model, part).items():
                found[key] = features
                self.store.put(key, features)
        joined: dict[tuple[str, ...], VisionFeatures | None] = {(): None}
        answers: list[VisionFeatures | None] = []
        for job in jobs:
            shown = tuple(key for key, _ in job.pictures)
            if shown not in joined:
                joined[shown] = join_features([found[key] for key in shown])
            answers.append(joined[shown])
        return answers

    def _pixels(self, key: str, ref: ImageRef) -> Tensor:
        """Pixels [1, 3, H, W]. A picture is opened here only if its features were forgotten at the last moment."""
        opening = self._opening.get((key, ref.name))
        if opening is not None and opening.pixels is not None:
            return opening.pixels
        pixels: Tensor = self._processor.pixel_values([load_image(ref)])
        return pixels

    def _open(self, ref: ImageRef, opening: _Opening) -> None:
        """In the pool."""
        try:
            opening.pixels = self._processor.pixel_values([load_image(ref)])
        except Exception as error:  # besides ours, those of an image processor that a picture surprises
            opening.error = error
        self._done()


def content_of(ref: ImageRef) -> str:
    """Equal for pictures that are the same."""
    try:
        return ref.key
    except OSError:
        return str(ref.path)  # it can't be read, which `load_image` will say
