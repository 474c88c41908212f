"""The loss on examples that are held out of training, by language and by task.

Without gradient, dropout and augmentation, and in one order, so that two models can be compared. Nothing that training
draws or keeps is touched: pictures come through a store of their own, and the random state of a step follows from its
number anyway.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from visiglot.config import Recipe, StageSection
from visiglot.data.batches import read_sample
from visiglot.data.collate import to_device
from visiglot.data.ledger import BAD_PICTURE, TOO_LONG, Unusable
from visiglot.data.mixture import Mixture
from visiglot.errors import ImageError, TrainingError
from visiglot.models.processor import VisiglotProcessor
from visiglot.train.costs import Cost, Costs
from visiglot.train.feed import Feed
from visiglot.train.loader import unreadable
from visiglot.train.objectives import Objective, ObjectiveLoss
from visiglot.train.pictures import Pictures
from visiglot.train.sharding import cuts_weights, let_go
from visiglot.types import Batch, OnBad, PromptSpec, Sample

if TYPE_CHECKING:
    from accelerate import Accelerator

MEMORY = 256 * 2**20
"""Bytes of decoded pictures that are kept from one validation to the next."""

MOST_ROWS = 64
"""Rows of a forward pass, which encodes its pictures at once where training may have them from the cache."""

PASSES = 16
"""Forward passes whose rows are sorted by length together."""


class Validation:
    """The held-out examples of a stage, and when they are asked for.

    Args:
        mixture: what they are held out of.
        held: (source, index into it) of each, see `Mixture.held_out`.
        spec: of the model.
        feed: plain pictures, not those of training.
        objective: of the stage; its `row_by_row` is true.
        accelerator: each process costs its share of the examples.
        cut: the model is cut up, so that all processes cost all examples together.
        rows: of a forward pass.
        every: steps between two validations; there is one at the end too.
        on_bad: what an example that can't be read does; skipped ones don't count in the run's ledger.
    """

    def __init__(
        self,
        mixture: Mixture,
        held: Sequence[tuple[int, int]],
        spec: PromptSpec,
        feed: Feed,
        objective: Objective,
        accelerator: Accelerator,
        *,
        rows: int,
        every: int,
        on_bad: OnBad,
        cut: bool = False,
    ) -> None:
        assert objective.row_by_row
        self.mixture = mixture
        self.held = held
        self.spec = spec
        self.feed = feed
        self.objective = objective
        self.accelerator = accelerator
        self.rows = rows
        self.every = every
        self.on_bad = on_bad
        self.cut = cut

    def is_due(self, step: int, steps: int) -> bool:
        """Whether to validate after `step` of `steps`."""
        return step == steps or step % self.every == 0

    def measure(self, module: nn.Module) -> Costs:
        """What the held-out examples cost now. All processes call this at once, and all get the same answer.

        Args:
            module: the stage's TrainingStep as accelerate has prepared it.

        Raises:
            DataError, PromptError: an example can't be used, unless such are skipped.
            TrainingError: the objective doesn't take an example, a loss isn't finite, or nothing could be used.
        """
        from accelerate.utils import gather_object

        began = time.perf_counter()
        # copies don't meet, for processes have different numbers of passes; pieces have to
        step = module if self.cut else self.accelerator.unwrap_model(module)
        own = Costs()
        with evaluating(step), torch.no_grad():
            for batch in self._batches(own.left_out):
                self._cost(step, batch, own)
        let_go(module)
        costs = Costs()
        for part in [own] if self.cut else gather_object([own]):
            costs.left_out.update(part.left_out)
            for (language, task), cost in part.cells.items():
                costs.add(language, task, cost)
        if not costs.cells:
            raise TrainingError(
                f"none of the {len(self.held)} held-out examples can be used ({costs.describe_left_out()})",
                hint="Mend the data, or set validate_every to 0.",
            )
        costs.seconds = time.perf_counter() - began
        return costs

    def _cost(self, step: Callable[[Batch], ObjectiveLoss], batch: Batch, costs: Costs) -> None:
        loss = step(to_device(batch, self.accelerator.device))
        rows = zip(batch.ids, batch.languages, batch.tasks, loss.rows.tolist(), loss.counts.tolist(), strict=True)
        for id_, language, task, of_row, tokens in rows:
            if not math.isfinite(of_row):
                raise TrainingError(
                    f"the loss of held-out example {id_} isn't finite",
                    hint="Start anew with a lower learning rate or longer warmup_steps (--fresh, or another --out).",
                )
            costs.add(language, task, Cost(of_row, int(tokens), 1))

    def _batches(self, left_out: Counter[str]) -> Iterator[Batch]:
        """This process's share, in rows of similar length; what can't be used is counted in `left_out`."""
        own = self.held if self.cut else self.held[self.accelerator.process_index :: self.accelerator.num_processes]
        together = self.rows * PASSES
        for start in range(0, len(own), together):
            samples = self._samples(own[start : start + together], left_out)
            for first in range(0, len(samples), self.rows):
                rows = self._readable(samples[first : first + self.rows], left_out)
                if rows is not None:
                    yield rows

    def _samples(self, numbers: Sequence[tuple[int, int]], left_out: Counter[str]) -> list[Sample]:
        samples = []
        for source, index in numbers:
            found = read_sample(self.mixture, source, index, self.spec)
            if not isinstance(found, Unusable):
                samples.append(found[1])
            elif found.reason == TOO_LONG or self.on_bad == "skip":
                left_out[found.reason] += 1
            else:
                raise found.error
        self.objective.check(samples)
        return sorted(samples, key=lambda sample: len(sample.ids) + len(sample.labels))

    def _readable(self, samples: Sequence[Sample], left_out: Counter[str]) -> Batch | None:
        """The batch of those of `samples` that can be shown; None when none can."""
        try:
            return self.feed.batch(samples, 0)
        except ImageError:
            bad = unreadable(self.feed, samples, 0)
            if not bad:
                raise
            if self.on_bad == "error":
                raise next(iter(bad.values())) from None
            left_out[BAD_PICTURE] += len(bad)
            good = [sample for place, sample in enumerate(samples) if place not in bad]
            return self.feed.batch(good, 0) if good else None


def prepare_validation(
    recipe: Recipe,
    section: StageSection,
    mixture: Mixture,
    spec: PromptSpec,
    processor: VisiglotProcessor,
    objective: Objective,
    accelerator: Accelerator,
) -> tuple[Validation | None, str]:
    """A stage's validation and a line about it; None where nothing is held out or it can't be measured."""
    held = mixture.held_out()
    if not held:
        return None, ""
    kept = f"{len(held):,} examples are held out"
    if not objective.row_by_row:
        return None, (
            f"validation: none, since what a row costs under objective {section.objective} isn't its own alone; {kept}"
        )
    every = recipe.train.save_every if section.validate_every is None else section.validate_every
    if not every:
        return None, f"validation: never (validate_every is 0); {kept}"
    validation = Validation(
        mixture,
        held,
        spec,
        Feed(spec, Pictures(processor, memory=MEMORY), draw="held out"),
        objective,
        accelerator,
        rows=min(-(-section.batch.rows // (section.batch.accumulate * accelerator.num_processes)), MOST_ROWS),
        every=every,
        on_bad=recipe.train.on_bad,
        cut=cuts_weights(recipe, accelerator.num_processes),
    )
    return validation, f"validation: on {len(held):,} held-out examples, every {every:,} steps and at the end"


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """With every part in evaluation mode; afterwards each is as it was."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
