"""Filling the feature caches of a recipe ahead of its training, by as many processes as were launched.

Each process computes the views of its own pictures, which follow from their bytes, so no two compute the same and none
waits for another. What is there already is kept: a filling that was stopped goes on, and training finds everything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from visiglot.config import Recipe, StageSection
from visiglot.errors import ImageError
from visiglot.models.build import build_model
from visiglot.models.connectors import Connector
from visiglot.models.parts import apply_parts
from visiglot.train.caching import ENCODE_ROWS, pictures_of, stage_cache
from visiglot.train.ending import ending_together
from visiglot.train.features import FeatureCache, part_of
from visiglot.train.launch import detect_launch, refuse_misfits
from visiglot.train.pictures import Pictures, key_of
from visiglot.train.precision import build_accelerator, round_frozen
from visiglot.train.stages import Sources, languages_of, set_modes, texts_of
from visiglot.train.track import Tracker
from visiglot.types import ImageRef

if TYPE_CHECKING:
    from accelerate import Accelerator

TOLD_EVERY = 5_000
"""Views between two lines."""


def fill_caches(recipe: Recipe, *, device: str = "auto", report: Tracker | None = None) -> int:
    """Compute what the recipe's stages will keep of their pictures; how many views this process computed.

    A stage whose encoder, or Q-Former where that's what is kept, is trained by an earlier stage is passed over: what it
    will keep isn't known yet. With `train.on_bad: skip` so are pictures that can't be read.

    Args:
        report: who is told; default the terminal, by the main process.

    Raises:
        VisiglotError: of every kind; what is computed by then is kept.
    """
    launch = detect_launch()
    accelerator = build_accelerator(recipe.train.precision, device)
    refuse_misfits(launch, device, accelerator.num_processes, recipe.train.sharding)
    with ending_together(accelerator):
        return _fill(recipe, accelerator, report)


def _fill(recipe: Recipe, accelerator: Accelerator, report: Tracker | None) -> int:
    tracker = (report or Tracker.to_terminal()) if accelerator.is_main_process else Tracker()
    sources, computed = Sources(), 0
    built = build_model(
        recipe.model, languages=languages_of(recipe), seed=recipe.train.seed, texts=texts_of(recipe, sources)
    )
    model, pictures = built.model, Pictures(built.processor)
    round_frozen(recipe, model, accelerator)  # as training will, since a cache's key has the encoder's weights
    for part in (model.vision, model.connector):
        part.to(accelerator.device)
    before: list[StageSection] = []
    for index, section in enumerate(recipe.stages):
        changed = _changed(model.connector, section, before)
        before.append(section)
        if changed and section.cache_views and not section.augment:
            tracker.say(f"stage {section.name}: nothing to fill yet, an earlier stage trains {changed}")
            continue
        with torch.random.fork_rng(devices=[]):
            apply_parts(model, section)
        set_modes(model)
        mixture = sources.mixture(recipe, section, seed=recipe.train.seed + index)
        cache, line = stage_cache(recipe, section, model, built.processor, pictures, mixture, accelerator)
        tracker.say(f"stage {section.name}: {line or 'no feature cache'}")
        if cache is None:
            continue
        skip_bad = recipe.train.on_bad == "skip"
        own = _own(
            pictures_of(mixture, skip_bad=skip_bad), accelerator.process_index, accelerator.num_processes, skip_bad
        )
        with contextlib.closing(Filling(cache, section.cache_views, tracker, skip_bad)) as filling:
            filling.take(own)
        computed += cache.computed
        accelerator.wait_for_everyone()
    tracker.say(f"{computed:,} views computed by this process, of {accelerator.num_processes}")
    return computed


class Filling:
    """Takes pictures into a cache, all views of each. Closing it keeps what is computed."""

    def __init__(self, cache: FeatureCache, views: int, tracker: Tracker, skip_bad: bool) -> None:
        self.cache = cache
        self.views = views
        self.tracker = tracker
        self.skip_bad = skip_bad
        self._told = 0

    def take(self, images: Iterable[ImageRef]) -> None:
        """Raises ImageError for a picture that can't be read, unless such are passed over."""
        waiting: list[ImageRef] = []
        for image in images:
            waiting.append(image)
            if len(waiting) == ENCODE_ROWS:
                self._compute(waiting)
                waiting = []
        self._compute(waiting)

    def close(self) -> None:
        self.cache.flush()

    def _compute(self, images: Sequence[ImageRef]) -> None:
        for view in range(self.views):
            try:
                self.cache.fill(images, [view] * len(images))
            except ImageError:
                if not self.skip_bad:
                    raise
                for image in images:
                    with contextlib.suppress(ImageError):
                        self.cache.fill([image], [view])
        if self.cache.computed >= self._told + TOLD_EVERY:
            self._told = self.cache.computed
            self.tracker.say(f"  {self._told:,} views computed")


def _own(images: Iterable[ImageRef], part: int, parts: int, skip_bad: bool) -> Iterator[ImageRef]:
    """Those of `images` that this process computes. Raises ImageError for one that can't be read."""
    for image in images:
        with contextlib.suppress(*((ImageError,) if skip_bad else ())):
            key_of(image)
            if part_of(image, parts) == part:
                yield image


def _changed(connector: Connector, section: StageSection, before: Sequence[StageSection]) -> str:
    """Which of what a stage keeps features of is trained by the stages before it; "" for nothing."""
    kept = ["vision", *(f"connector.{name}" for name in connector.reading if section.cache_read)]
    trained = [path for stage in before for path, part in stage.parts.items() if part.train == "full"]
    return ", ".join(
        name
        for name in kept
        if any(f"{name}.".startswith(f"{path}.") or path.startswith(f"{name}.") for path in trained)
    )
