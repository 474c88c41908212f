"""The mixture: which example is drawn when.

Counts are exact instead of a lottery: over sources by their weights, within a source over languages by the allocation,
both rounded by largest remainder. What comes when is never written down: the k-th example is a pure function of
(recipe, seed, k), on any process and after any restart, and costs the same for a thousand draws or a thousand million.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from visiglot.config import DataSection
from visiglot.data.allocation import quotas, shares
from visiglot.data.draws import Order
from visiglot.data.holdout import held_out
from visiglot.data.licences import permitted
from visiglot.data.opening import allocation_of, asked_of, open_section, refuse_untranslated
from visiglot.data.permutation import permuted
from visiglot.data.source import Indices, Source
from visiglot.errors import DataError
from visiglot.types import Example

_ORDER, _CELL, _TIES = range(3)
"""Streams of random numbers that must not meet: the order of cells, the passes over a cell, ties in rounding."""

Sizes = Mapping[str, int]
"""FLORES-200 code -> examples that there are."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One source in one language, and how often it is drawn.

    Args:
        indices: all its examples, as the source has them.
        held: places in `indices` of those that are held out, in the order in which they are measured.

    Attributes:
        before: for each of `held`, in the order of their places, how many that may be drawn come before it.
    """

    source: int
    language: str
    indices: Indices
    held: tuple[int, ...]
    draws: int
    before: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        before = tuple(place - rank for rank, place in enumerate(sorted(self.held)))
        object.__setattr__(self, "before", before)

    def drawn(self, number: int, seed: int, rank: int) -> int:
        """The example of the draw that comes `rank` draws of this cell, the `number`-th, after its first.

        Draws come in passes, each a fresh permutation, so none is drawn twice before all were drawn once.
        """
        left = len(self.indices) - len(self.held)
        times, place = divmod(rank, left)
        place = permuted(place, left, (seed, _CELL, number, times))
        return int(self.indices[place + bisect_right(self.before, place)])

    def held_out(self, place: int) -> int:
        """The `place`-th of the examples that are held out."""
        return int(self.indices[self.held[place]])


class Mixture:
    """`total` draws from the sources of a recipe.

    A language that a source lacks gets none of the source's draws; `table` names it with 0.

    Args:
        data: sources with weights, languages, the allocation, what licences allow, and how many examples are held out.
        total: number of draws.
        seed: of the order and of the passes.
        sources: ready-made sources in the order of those that the licence allows (`permitted(data).sources`), instead
            of those that it names.

    Raises:
        ConfigError: a source has to be translated first, or the allocation says nothing of a language.
        DataError: a source is empty, has no example in any of its languages, or none but what is held out; no source
            may be used.
    """

    def __init__(self, data: DataSection, *, total: int, seed: int, sources: Sequence[Source] | None = None) -> None:
        assert total >= 0
        data = permitted(data)
        refuse_untranslated(data)
        if sources is None:
            sources = [open_section(section, data, asked_of(section, data), seed) for section in data.sources]
        assert len(sources) == len(data.sources)
        self.sources = tuple(sources)
        self.names = unique([source.name for source in sources])
        self._seed = seed
        self._asked = [asked_of(section, data) for section in data.sources]
        for name, source, codes in zip(self.names, sources, self._asked, strict=True):
            refuse_empty(name, source, codes)
        self.cells = self._plan_cells(data, total, seed)
        self._order = Order([cell.draws for cell in self.cells], (seed, _ORDER))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, k: int) -> Example:
        source, index = self.draw(k)
        return self.sources[source][index]

    def draw(self, k: int) -> tuple[int, int]:
        """(number of the source, index into it) of draw `k`."""
        if not 0 <= k < len(self):
            raise IndexError(f"the mixture has {len(self)} draws, there is no number {k}")
        number, rank = self._order.draw(k)
        cell = self.cells[number]
        return cell.source, cell.drawn(number, self._seed, rank)

    def held_out(self) -> list[tuple[int, int]]:
        """(number of the source, index into it) of all that is kept for validation and never drawn.

        In turn from each source and language, so that any first part of the list has as many of each as it can.
        """
        rounds = max((len(cell.held) for cell in self.cells), default=0)
        return [(c.source, c.held_out(place)) for place in range(rounds) for c in self.cells if place < len(c.held)]

    def table(self) -> dict[tuple[str, str], int]:
        """(source, language) -> draws, for every language asked of the source: 0 where it has no examples."""
        counts = {(self.names[s], code): 0 for s, codes in enumerate(self._asked) for code in codes}
        for cell in self.cells:
            counts[self.names[cell.source], cell.language] = cell.draws
        return counts

    def _plan_cells(self, data: DataSection, total: int, seed: int) -> tuple[Cell, ...]:
        held = [held_out(source, data.holdout) for source in self.sources]
        found: dict[tuple[int, str], tuple[Indices, tuple[int, ...]]] = {}
        left: list[dict[str, int]] = []
        for number, (name, source, codes) in enumerate(zip(self.names, self.sources, self._asked, strict=True)):
            there = [code for code in codes if len(source.by_language.get(code, ()))]
            found |= {(number, code): (source.by_language[code], held[number][code]) for code in there}
            left.append({code: len(source.by_language[code]) - len(held[number][code]) for code in there})
            refuse_used_up(name, left[number])
        draws = plan_draws(data, left, total, seed)
        return tuple(
            Cell(number, code, indices, places, draws.get((number, code), 0))
            for (number, code), (indices, places) in found.items()
        )


def refuse_empty(name: str, source: Source, codes: Sequence[str]) -> None:
    """Raises DataError: the source is empty, or has nothing in these languages."""
    if not len(source):
        raise DataError(f"source {name} is empty", hint="Check its path and its filters, or take it out.")
    if not any(len(source.by_language.get(code, ())) for code in codes):
        has = ", ".join(sorted(code for code, found in source.by_language.items() if len(found)))
        raise DataError(
            f"source {name} has no example in {', '.join(codes)}; it has {has or 'none of them'}",
            hint="Choose other languages for it, or take it out.",
        )


def refuse_used_up(name: str, left: Sizes) -> None:
    """Raises DataError: a source has nothing but what is held out."""
    if not any(left.values()):
        raise DataError(
            f"source {name} has nothing left to train on: all that it has in {', '.join(left)} is held out",
            hint="Lower data.holdout, or take the source out.",
        )


def plan_draws(data: DataSection, left: Sequence[Sizes], total: int, seed: int) -> dict[tuple[int, str], int]:
    """(number of the source, language) -> draws, for each source and language that there are examples of.

    Args:
        left: examples of each of `data.sources` that may be drawn.
        total: draws in all.
        seed: of who gains by rounding.

    Raises:
        ConfigError: the allocation says nothing of a language, or gives nothing to any of a source's.
    """
    left = [{code: size for code, size in of.items() if size} for of in left]
    weights = [
        sum(of.values()) if section.weight == "size" else section.weight
        for section, of in zip(data.sources, left, strict=True)
    ]
    ties = np.random.default_rng([seed, _TIES])
    draws: dict[tuple[int, str], int] = {}
    for number, count in enumerate(quotas(weights, total, ties)):
        codes = left[number]
        parts = quotas(shares(allocation_of(data.sources[number], data), codes), int(count), ties)
        draws |= {(number, code): int(part) for code, part in zip(codes, parts, strict=True)}
    return draws


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names told apart by a number where two sources share one."""
    return tuple(
        name if names.count(name) == 1 else f"{name}#{names[: i + 1].count(name)}" for i, name in enumerate(names)
    )


def describe_table(table: Mapping[tuple[str, str], int]) -> list[str]:
    """One line a source: its draws, its languages, and those that it was asked for and lacks."""
    lines = []
    for name in dict.fromkeys(name for name, _ in table):
        counts = {code: count for (source, code), count in table.items() if source == name}
        lacking = [code for code, count in counts.items() if not count]
        covered = len(counts) - len(lacking)
        line = f"{name}: {sum(counts.values()):,} draws in {covered} language{'' if covered == 1 else 's'}"
        lines.append(f"{line}; none in {', '.join(lacking)}" if lacking else line)
    return lines
