"""Steps of rows of similar length.

A window of 32 steps is rendered, sorted by length with a little noise, and cut into steps, which are then shuffled.
Padding shrinks, the order stays random beyond the window, and every step is a function of its number: a run that is
resumed asks for the next one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from visiglot.data.ledger import BAD_ROW, TOO_LONG, Ledger, Unusable
from visiglot.data.mixture import Mixture
from visiglot.errors import DataError, PromptError, TooLongError
from visiglot.prompts import placed
from visiglot.render import render
from visiglot.types import Example, PromptSpec, Sample

WINDOW = 32
"""Steps that are sorted together."""

JITTER = 0.1
"""Lengths are sorted as if each were up to this share longer, so that equal lengths don't always meet."""


class Batches:
    """The rows of each optimiser step.

    Args:
        mixture: what is drawn; its length over `rows`, rounded up, is the number of steps.
        spec: what rendering needs to know of the model.
        rows: examples in one step, over all processes.
        group_by_length: sort windows by length; otherwise steps follow the mixture's order.
        balance_languages: give each step of a window its share of each language. Steps are then similar in how long
            their rows are for their language, and a language of long words stands in short steps too.
        seed: of the noise and of the order of a window's steps.
        ledger: where examples that are left out are counted. A step then has fewer rows; the window shares the loss
            among its steps. None: a too long example is an error.
        skip_bad: leave out rows that can't be read or rendered, as those that are too long; otherwise they are errors.
        says_side: sets `Sample.says_side`. None: nobody asks.
    """

    def __init__(
        self,
        mixture: Mixture,
        spec: PromptSpec,
        *,
        rows: int,
        group_by_length: bool,
        balance_languages: bool = False,
        seed: int,
        ledger: Ledger | None,
        skip_bad: bool = False,
        says_side: Callable[[Example], bool] | None = None,
    ) -> None:
        assert rows > 0
        self.mixture = mixture
        self.spec = spec
        self.rows = rows
        self.seed = seed
        self.ledger = ledger
        self.skip_bad = skip_bad
        self.says_side = says_side
        self.window = WINDOW if group_by_length else 1
        self.balance_languages = balance_languages
        self._number = -1
        self._steps: list[list[Sample]] = []
        self._counted: set[int] = set()

    def __len__(self) -> int:
        return -(-len(self.mixture) // self.rows)

    def step(self, n: int) -> list[Sample]:
        """The rows of step `n`, sorted by length when grouped. Only the step's window is rendered, and kept.

        Raises:
            PromptError: an example can't be rendered.
            DataError: an example can't be read, or too many are left out, or all of the step.
        """
        if not 0 <= n < len(self):
            raise IndexError(f"there are {len(self)} steps, there is no number {n}")
        number, place = divmod(n, self.window)
        if number != self._number:
            self._steps = self._load(number)
            self._number = number
        samples = self._steps[place]
        if not samples:
            raise DataError(
                f"step {n} has no rows left: each of its examples was longer than {self.spec.max_length} tokens or bad",
                hint="The run's ledger says why; raise model.prompt.max_length if they are too long.",
            )
        return samples

    def _load(self, number: int) -> list[list[Sample]]:
        first = number * self.window
        steps = min(self.window, len(self) - first)
        samples = self._render(number, first * self.rows, min((first + steps) * self.rows, len(self.mixture)))
        if steps == 1:
            return [samples]
        random = np.random.default_rng([self.seed, number])
        lengths = np.array([len(s.ids) + (len(s.labels) if self.spec.layout == "seq2seq" else 0) for s in samples])
        lengths = lengths * (1 + JITTER * random.random(len(lengths)))
        if self.balance_languages:
            order = np.lexsort((lengths, ranks_within(lengths, [sample.language for sample in samples])))
            cut = [part[np.argsort(lengths[part], kind="stable")] for part in np.array_split(order, steps)]
        else:
            cut = np.array_split(np.argsort(lengths, kind="stable"), steps)
        return [[samples[i] for i in cut[k]] for k in random.permutation(steps)]

    def _render(self, number: int, start: int, stop: int) -> list[Sample]:
        found = [self._read(k) for k in range(start, stop)]
        if self.ledger is not None and number not in self._counted:
            self._counted.add(number)
            self.ledger.count(stop - start)
            for one in found:
                if isinstance(one, Unusable):
                    self.ledger.skip(one.id, one.reason, one.error.message)
        return [sample for sample in found if isinstance(sample, Sample)]

    def _read(self, k: int) -> Sample | Unusable:
        """Draw `k`. Raises what is wrong with it unless such examples are left out."""
        found = read_sample(self.mixture, *self.mixture.draw(k), self.spec)
        if isinstance(found, Unusable):
            if self.ledger is None or (found.reason != TOO_LONG and not self.skip_bad):
                raise found.error
            return found
        if self.says_side is None:
            return found[1]
        return dataclasses.replace(found[1], says_side=self.says_side(found[0]))


def ranks_within(lengths: np.ndarray, languages: Sequence[str]) -> np.ndarray:
    """The share of the rows of its language that each row is longer than, from 0 to 1."""
    ranks = np.empty(len(lengths))
    for language in dict.fromkeys(languages):
        rows = np.flatnonzero([one == language for one in languages])
        ranks[rows[np.argsort(lengths[rows], kind="stable")]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return ranks


def read_sample(mixture: Mixture, source: int, index: int, spec: PromptSpec) -> tuple[Example, Sample] | Unusable:
    """Example `index` of source `source`, as it is and rendered; or why it can't be."""
    try:
        example = placed(mixture.sources[source][index], spec.placing)
    except DataError as error:
        return Unusable(f"{mixture.names[source]}/{index}", BAD_ROW, error)
    try:
        sample = render(example, spec)
        if example.twin is not None:
            sample = dataclasses.replace(sample, twin=render(placed(example.twin, spec.placing), spec))
        return example, sample
    except TooLongError as error:
        return Unusable(example.id, TOO_LONG, error)
    except PromptError as error:
        return Unusable(example.id, BAD_ROW, error)
