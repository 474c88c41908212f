"""The plan of draws: exact, repeatable, fair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from visiglot.config import DataSection, SourceSection
from visiglot.data.mixture import ENGLISH, Mixture, describe_table, quotas
from visiglot.data.source import Indices
from visiglot.errors import DataError
from visiglot.types import Example, Message

SWAHILI, GERMAN, HINDI = "swh_Latn", "deu_Latn", "hin_Deva"


class Rows:
    """A source of so many rows in each language; the id says which row it is."""

    def __init__(self, name: str, counts: Mapping[str, int]) -> None:
        self.name = name
        self.codes = [code for code, count in counts.items() for _ in range(count)]
        codes = np.array(self.codes)
        self.by_language: Mapping[str, Indices] = {
            code: np.flatnonzero(codes == code).astype(np.int32) for code in counts
        }

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Example:
        messages = (Message("user", ("q",)), Message("assistant", ("a",)))
        return Example(f"{self.name}/{index}", messages, self.codes[index])


def section(
    weights: Sequence[float], languages: Sequence[str], english_share: float | None = None, own: Sequence[str] = ()
) -> DataSection:
    sources = tuple(SourceSection(type="rows", weight=weight) for weight in weights)
    if own:
        sources = (*sources[:-1], SourceSection(type="rows", weight=weights[-1], languages=tuple(own)))
    return DataSection(sources=sources, languages=tuple(languages), english_share=english_share)


def test_draws_are_split_exactly_by_source_and_language() -> None:
    sources = [Rows("a", {GERMAN: 5, SWAHILI: 7}), Rows("b", {GERMAN: 50, SWAHILI: 3, HINDI: 1})]
    mixture = Mixture(section([3, 1], [GERMAN, SWAHILI, HINDI]), total=1000, seed=1, sources=sources)
    drawn = Counter((example.id.split("/")[0], example.language) for example in map(mixture.__getitem__, range(1000)))
    assert drawn[("a", GERMAN)] == drawn[("a", SWAHILI)] == 375
    assert sorted(drawn[("b", code)] for code in (GERMAN, SWAHILI, HINDI)) == [83, 83, 84]
    table = mixture.table()
    assert table[("a", HINDI)] == 0
    assert {cell: count for cell, count in table.items() if count} == dict(drawn)


def test_english_gets_its_share_and_the_others_the_rest_evenly() -> None:
    sources = [
        Rows("a", {ENGLISH: 5, GERMAN: 5, SWAHILI: 5}),
        Rows("b", {GERMAN: 5, SWAHILI: 5}),
        Rows("c", {ENGLISH: 5}),
    ]
    mixture = Mixture(section([1, 1, 1], [ENGLISH, GERMAN, SWAHILI], 0.5), total=1200, seed=1, sources=sources)
    table = mixture.table()
    assert [table["a", code] for code in (ENGLISH, GERMAN, SWAHILI)] == [200, 100, 100]
    assert [table["b", code] for code in (ENGLISH, GERMAN, SWAHILI)] == [0, 200, 200]
    assert [table["c", code] for code in (ENGLISH, GERMAN, SWAHILI)] == [400, 0, 0]


def test_a_source_may_have_languages_of_its_own() -> None:
    sources = [Rows("a", {GERMAN: 5, SWAHILI: 5}), Rows("b", {GERMAN: 5, SWAHILI: 5})]
    mixture = Mixture(section([1, 1], [GERMAN, SWAHILI], own=[SWAHILI]), total=100, seed=1, sources=sources)
    assert mixture.table() == {("a", GERMAN): 25, ("a", SWAHILI): 25, ("b", SWAHILI): 50}


def test_no_example_comes_twice_before_all_of_its_cell_came_once() -> None:
    sources = [Rows("a", {GERMAN: 7, SWAHILI: 3})]
    mixture = Mixture(section([1], [GERMAN, SWAHILI]), total=60, seed=5, sources=sources)
    orders = []
    for code, size in ((GERMAN, 7), (SWAHILI, 3)):
        ids = [example.id for example in map(mixture.__getitem__, range(60)) if example.language == code]
        passes = [ids[start : start + size] for start in range(0, len(ids), size)]
        for one in passes:
            assert len(set(one)) == len(one)
        orders.append({tuple(one) for one in passes if len(one) == size})
    assert len(orders[0]) > 1, "each pass has an order of its own"


def test_the_plan_depends_on_the_seed_and_on_nothing_else() -> None:
    def ids(seed: int) -> list[str]:
        sources = [Rows("a", {GERMAN: 70, SWAHILI: 30}), Rows("b", {GERMAN: 10})]
        mixture = Mixture(section([2, 1], [GERMAN, SWAHILI]), total=200, seed=seed, sources=sources)
        return [mixture[k].id for k in reversed(range(200))]

    assert ids(3) == ids(3)
    assert ids(3) != ids(4)


def test_cells_are_spread_over_the_whole_run() -> None:
    sources = [Rows("a", {GERMAN: 9, SWAHILI: 9})]
    mixture = Mixture(section([1], [GERMAN, SWAHILI]), total=2000, seed=5, sources=sources)
    first = sum(mixture[k].language == GERMAN for k in range(1000))
    assert 430 < first < 570


def test_sources_of_one_name_are_told_apart() -> None:
    sources = [Rows("a", {GERMAN: 5}), Rows("a", {GERMAN: 5})]
    mixture = Mixture(section([1, 3], [GERMAN]), total=8, seed=5, sources=sources)
    assert mixture.table() == {("a#1", GERMAN): 2, ("a#2", GERMAN): 6}


def test_the_table_is_told_with_what_a_source_lacks() -> None:
    mixture = Mixture(section([1], [GERMAN, HINDI]), total=8, seed=5, sources=[Rows("a", {GERMAN: 5})])
    assert describe_table(mixture.table()) == ["a: 8 draws in 1 language; none in hin_Deva"]


def test_an_empty_source_is_named() -> None:
    with pytest.raises(DataError, match="source b is empty"):
        Mixture(section([1, 1], [GERMAN]), total=8, seed=5, sources=[Rows("a", {GERMAN: 5}), Rows("b", {})])


def test_a_source_without_any_of_its_languages_is_named_with_those_it_has() -> None:
    with pytest.raises(DataError, match=r"source a has no example in hin_Deva, swh_Latn; it has deu_Latn"):
        Mixture(section([1], [HINDI, SWAHILI]), total=8, seed=5, sources=[Rows("a", {GERMAN: 5, HINDI: 0})])


def test_a_draw_beyond_the_plan_is_an_index_error() -> None:
    mixture = Mixture(section([1], [GERMAN]), total=8, seed=5, sources=[Rows("a", {GERMAN: 5})])
    for k in (8, -1):
        with pytest.raises(IndexError):
            mixture[k]


@pytest.mark.parametrize("total", [0, 1, 2, 7, 100, 12345])
def test_quotas_add_up_and_are_never_off_by_one_or_more(total: int) -> None:
    shares = [0.1, 3, 1, 1, 1, 2.5]
    found = quotas(shares, total, np.random.default_rng(0))
    exact = np.array(shares) / sum(shares) * total
    assert found.sum() == total
    assert np.all(np.abs(found - exact) < 1)


def test_equal_remainders_do_not_favour_the_first() -> None:
    favoured = {int(np.argmax(quotas([1, 1, 1, 1], 1, np.random.default_rng(seed)))) for seed in range(40)}
    assert favoured == {0, 1, 2, 3}
