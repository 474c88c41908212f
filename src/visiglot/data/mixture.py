"""The mixture: which example is drawn when.

The whole order is planned before the first draw, with exact counts instead of a lottery: over sources by their weights,
within a source over languages, both rounded by largest remainder. Two int32 arrays hold it, so the k-th example is a
pure function of (recipe, seed, k), on any process and after any restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiglot.config import DataSection
from visiglot.data.source import Source, build_source
from visiglot.errors import DataError
from visiglot.languages import ENGLISH, resolve
from visiglot.types import Example

_ORDER, _CELL, _TIES = range(3)
"""Streams of random numbers that must not meet: the order of cells, the passes over a cell, ties in rounding."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One source in one language, and how often it is drawn."""

    source: int
    language: str
    indices: NDArray[np.int32]
    draws: int


class Mixture:
    """`total` draws from the sources of a recipe.

    A language that a source lacks gets none of the source's draws; `table` names it with 0.

    Args:
        data: sources with weights, languages, and the share of English.
        total: number of draws.
        seed: of the order and of the passes.
        sources: ready-made sources in the order of `data.sources`, instead of those that it names.

    Raises:
        DataError: a source is empty, or has no example in any of its languages.
    """

    def __init__(self, data: DataSection, *, total: int, seed: int, sources: Sequence[Source] | None = None) -> None:
        assert total >= 0
        asked = [resolve(section.languages or data.languages) for section in data.sources]
        if sources is None:
            sources = [
                build_source(section.type, section.options, languages=languages, seed=seed)
                for section, languages in zip(data.sources, asked, strict=True)
            ]
        assert len(sources) == len(data.sources)
        self.sources = tuple(sources)
        self.names = _unique([source.name for source in sources])
        self._asked = asked
        self._check()
        self.cells = self._plan_cells(
            [
                len(source) if section.weight == "size" else section.weight
                for section, source in zip(data.sources, sources, strict=True)
            ],
            data.english_share,
            total,
            seed,
        )
        self._cell_of, self._index_of = _plan_order(self.cells, seed)

    def __len__(self) -> int:
        return len(self._cell_of)

    def __getitem__(self, k: int) -> Example:
        source, index = self.draw(k)
        return self.sources[source][index]

    def draw(self, k: int) -> tuple[int, int]:
        """(number of the source, index into it) of draw `k`."""
        if not 0 <= k < len(self):
            raise IndexError(f"the mixture has {len(self)} draws, there is no number {k}")
        return self.cells[self._cell_of[k]].source, int(self._index_of[k])

    def table(self) -> dict[tuple[str, str], int]:
        """(source, language) -> draws, for every language asked of the source: 0 where it has no examples."""
        counts = {(self.names[s], code): 0 for s, codes in enumerate(self._asked) for code in codes}
        for cell in self.cells:
            counts[self.names[cell.source], cell.language] = cell.draws
        return counts

    def _check(self) -> None:
        for name, source, codes in zip(self.names, self.sources, self._asked, strict=True):
            if not len(source):
                raise DataError(f"source {name} is empty", hint="Check its path and its filters, or take it out.")
            if not any(_has(source, code) for code in codes):
                has = ", ".join(sorted(code for code, found in source.by_language.items() if len(found)))
                raise DataError(
                    f"source {name} has no example in {', '.join(codes)}; it has {has or 'none of them'}",
                    hint="Choose other languages for it, or take it out.",
                )

    def _plan_cells(
        self, weights: Sequence[float], english_share: float | None, total: int, seed: int
    ) -> tuple[Cell, ...]:
        ties = np.random.default_rng([seed, _TIES])
        cells = []
        for number, draws in enumerate(quotas(weights, total, ties)):
            source = self.sources[number]
            codes = [code for code in self._asked[number] if _has(source, code)]
            shares = _language_shares(codes, english_share)
            for code, count in zip(codes, quotas(shares, int(draws), ties), strict=True):
                cells.append(Cell(number, code, np.asarray(source.by_language[code], dtype=np.int32), int(count)))
        return tuple(cells)


def quotas(shares: Sequence[float], total: int, ties: np.random.Generator) -> NDArray[np.int64]:
    """Split `total` by `shares` into whole numbers that add up to it, by largest remainder (Hamilton's method).

    Equal remainders are decided by `ties`, so that no one is favoured for standing first.
    """
    exact = np.asarray(shares, dtype=np.float64) / float(np.sum(shares)) * total
    floor = np.floor(exact).astype(np.int64)
    remainder = np.round(exact - floor, 9)
    left = total - int(floor.sum())
    order = np.lexsort((ties.random(len(exact)), -remainder))
    floor[order[:left]] += 1
    assert floor.sum() == total
    return floor


def _language_shares(codes: Sequence[str], english_share: float | None) -> list[float]:
    """Uniform, or English as asked and the rest uniform. A source with one kind only gives all its draws to it."""
    others = len(codes) - (ENGLISH in codes)
    if english_share is None or ENGLISH not in codes or not others:
        return [1.0] * len(codes)
    return [english_share if code == ENGLISH else (1 - english_share) / others for code in codes]


def _plan_order(cells: Sequence[Cell], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cell and example of each draw, [total] and [total].

    Cells are shuffled over the whole run. Within a cell examples come in passes, each a fresh permutation, so none is
    drawn twice before all were drawn once.
    """
    draws = [cell.draws for cell in cells]
    cell_of = np.repeat(np.arange(len(cells), dtype=np.int32), draws)
    np.random.default_rng([seed, _ORDER]).shuffle(cell_of)
    places = np.argsort(cell_of, kind="stable")
    index_of = np.empty(len(cell_of), dtype=np.int32)
    start = 0
    for number, cell in enumerate(cells):
        index_of[places[start : start + cell.draws]] = _passes(cell, np.random.default_rng([seed, _CELL, number]))
        start += cell.draws
    return cell_of, index_of


def _passes(cell: Cell, random: np.random.Generator) -> NDArray[np.int32]:
    """The cell's examples in the order of its draws, [draws]."""
    chosen = np.empty(cell.draws, dtype=np.int32)
    size = len(cell.indices)
    for start in range(0, cell.draws, size):
        chosen[start : start + size] = random.permutation(cell.indices)[: cell.draws - start]
    return chosen


def _has(source: Source, code: str) -> bool:
    return code in source.by_language and len(source.by_language[code]) > 0


def _unique(names: Sequence[str]) -> tuple[str, ...]:
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
