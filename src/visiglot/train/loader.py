"""The rows of a step, loaded ahead of it; what can't be read stops the run, or is left out by all processes alike.

Each process reads the pictures of its own rows only. A row whose picture can't be read is left out of the step before
its loss is divided, so the divisor counts what was trained on; no picture is ever stood in for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from visiglot.data.batches import Batches
from visiglot.data.ledger import BAD_PICTURE, Ledger
from visiglot.errors import DataError, ImageError, TrainingError
from visiglot.train.feed import Feed, split_by_tokens, split_rows, upright
from visiglot.train.objectives import Objective
from visiglot.types import Batch, OnBad, Sample

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class Loaded:
    """A step as one process has read it.

    Args:
        samples: of the whole step.
        batches: this process's forward passes.
        bad: places in `samples` of its rows that can't be shown, and why; they are in none of `batches`.
    """

    step: int
    samples: Sequence[Sample]
    batches: Sequence[Batch]
    bad: Mapping[int, str]


class Loader:
    """Loads the steps of a stage.

    Args:
        batches: the rows of each step.
        feed: their pictures.
        objective: which rows it takes.
        accelerator: which rows are this process's.
        accumulate: forward passes of each process in a step.
        tokens: most tokens of a forward pass, instead of their number.
        meet: have all processes encode pictures when one does, since the encoder is cut up over them.
        on_bad: what a picture that can't be read does.
        ledger: where examples that are left out are counted.
    """

    def __init__(
        self,
        batches: Batches,
        feed: Feed,
        objective: Objective,
        accelerator: Accelerator,
        *,
        accumulate: int,
        tokens: int | None = None,
        meet: bool = False,
        on_bad: OnBad,
        ledger: Ledger,
    ) -> None:
        self.batches = batches
        self.feed = feed
        self.objective = objective
        self.accelerator = accelerator
        self.accumulate = accumulate
        self.tokens = tokens
        self.meet = meet
        self.on_bad = on_bad
        self.ledger = ledger

    def load(self, step: int) -> Loaded:
        """Step `step`, on whatever thread.

        Raises:
            DataError, PromptError: an example can't be used.
            TrainingError: the objective doesn't take an example.
        """
        samples = self.batches.step(step)
        self.objective.check(samples)
        return self._load(step, samples)

    def agree(self, loaded: Loaded) -> Loaded:
        """The step without the rows that any process can't show. All processes call this at once.

        Raises:
            DataError: too many examples are left out by now, or no row of the step is left.
            TrainingError: the processes read different rows.
        """
        bad = self._bad_of_all(loaded)
        if not bad:
            return loaded
        for place, why in sorted(bad.items()):
            self.ledger.skip(loaded.samples[place].id, BAD_PICTURE, why)
        kept = [sample for place, sample in enumerate(loaded.samples) if place not in bad]
        if not kept:
            raise DataError(
                f"step {loaded.step} has no rows left: none of the pictures of its {len(bad)} can be read",
                hint="Mend the data, or raise batch.rows; the run's ledger names the pictures.",
            )
        again = self._load(loaded.step, kept)
        if again.bad:
            raise DataError(
                f"a picture could be read at first and now can't: {next(iter(again.bad.values()))}",
                hint="Check the disk that it is on, and whether all processes see the same files.",
            )
        return again

    def _load(self, step: int, samples: Sequence[Sample]) -> Loaded:
        still = upright(samples)
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        batches: list[Batch] = []
        bad: dict[int, str] = {}
        passes = self.passes(samples)
        for first in range(0, len(passes), processes):
            places = passes[first + rank]
            unseen = self._unseen(samples, passes[first : first + processes], rank)
            try:
                rows = self.objective.rows([samples[place] for place in places])
                picture = None if unseen is None else samples[unseen].images[0]
                batches.append(self.feed.batch(rows, step, still, picture))
            except ImageError:
                shown = [*places] if unseen is None else [*places, unseen]
                found = unreadable(self.feed, [samples[place] for place in shown], step)
                if not found:
                    raise
                if self.on_bad == "error":
                    raise next(iter(found.values())) from None
                bad |= {shown[row]: error.message for row, error in found.items()}
        return Loaded(step, samples, batches, bad)

    def passes(self, samples: Sequence[Sample]) -> Sequence[Sequence[int]]:
        """Places of the rows of each forward pass of a step, of all processes in turn. Raises TrainingError."""
        if self.tokens is None:
            return split_rows(len(samples), self.accumulate, self.accelerator.num_processes)
        return split_by_tokens([self._size(sample) for sample in samples], self.tokens, self.accelerator.num_processes)

    def _size(self, sample: Sample) -> tuple[int, int]:
        rows = self.objective.rows([sample])
        apart = self.batches.spec.layout == "seq2seq"
        targets = max(len(row.labels) for row in rows) if apart else 0
        return max(len(row.ids) for row in rows) * len(rows), targets * len(rows)

    def _unseen(self, samples: Sequence[Sample], together: Sequence[Sequence[int]], rank: int) -> int | None:
        """The example whose picture this process encodes beside its rows, that show none while another's do."""
        if not self.meet or any(samples[place].images for place in together[rank]):
            return None
        return next((place for places in together for place in places if samples[place].images), None)

    def _bad_of_all(self, loaded: Loaded) -> Mapping[int, str]:
        """`Loaded.bad` of all processes, whose rows are compared first."""
        if self.accelerator.num_processes == 1:
            return loaded.bad
        from accelerate.utils import gather_object

        rows = hashlib.sha256("\n".join(sample.id for sample in loaded.samples).encode()).digest()
        own = torch.tensor([len(loaded.bad), int.from_bytes(rows[:7], "big")], device=self.accelerator.device)
        of_all = self.accelerator.gather(own).view(-1, 2)  # [processes, 2]
        if bool((of_all[:, 1] != of_all[0, 1]).any()):
            raise TrainingError(
                f"the processes read different rows in step {loaded.step}",
                hint="Let them all see the same data: the same files, complete, on each machine.",
            )
        if not bool(of_all[:, 0].any()):
            return {}
        return {place: why for part in gather_object([loaded.bad]) for place, why in part.items()}


def unreadable(feed: Feed, samples: Sequence[Sample], step: int) -> dict[int, ImageError]:
    """Place of each sample one of whose pictures can't be read -> an error that names both."""
    found = {}
    for place, sample in enumerate(samples):
        try:
            feed.batch([sample], step)
        except ImageError as error:
            message = error.message.removeprefix(f"example {sample.id}: ")
            hint = f"{error.hint} Or leave such examples out with train.on_bad=skip, which a run may go on with."
            found[place] = ImageError(f"example {sample.id}: {message}", hint=hint)
    return found
