"""The plan of draws: exact, repeatable, fair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from visiglot.config import AllocationSection, DataSection, SourceSection
from visiglot.data.allocation import quotas
from visiglot.data.mixture import Mixture, describe_table
from visiglot.data.source import Indices
from visiglot.errors import ConfigError, DataError
from visiglot.languages import ENGLISH
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


# --- how languages share ---------------------------------------------------------------------------------------------


def allotted(**values: Any) -> Mixture:
    sources = [Rows("a", {ENGLISH: 40, GERMAN: 30, SWAHILI: 10})]
    data = DataSection(sources=(SourceSection(type="rows"),), languages=(ENGLISH, GERMAN, SWAHILI), **values)
    return Mixture(data, total=800, seed=1, sources=sources)


def test_languages_share_by_the_allocation() -> None:
    assert list(allotted(allocation={"policy": "lrm"}).table().values()) == [400, 200, 200]
    assert list(allotted(allocation={"policy": "size"}).table().values()) == [400, 300, 100]
    given = {"policy": "weights", "weights": {"de": 3, "sw": 1}}
    assert list(allotted(allocation=given).table().values()) == [0, 600, 200]


def test_a_source_may_have_an_allocation_of_its_own() -> None:
    sources = [Rows("a", {GERMAN: 30, SWAHILI: 10}), Rows("b", {GERMAN: 30, SWAHILI: 10})]
    own = SourceSection.model_validate({"type": "rows", "allocation": {"policy": "size"}})
    data = DataSection(sources=(SourceSection(type="rows"), own), languages=(GERMAN, SWAHILI))
    assert list(Mixture(data, total=80, seed=1, sources=sources).table().values()) == [20, 20, 30, 10]


def test_sources_may_weigh_as_much_as_they_have_in_the_languages_asked_for() -> None:
    sources = [Rows("a", {GERMAN: 30, HINDI: 900}), Rows("b", {GERMAN: 10})]
    by_size = tuple(SourceSection(type="rows", weight="size") for _ in sources)
    data = DataSection(sources=by_size, languages=(GERMAN,))
    assert list(Mixture(data, total=400, seed=1, sources=sources).table().values()) == [300, 100]


def test_an_epoch_of_sources_by_size_draws_each_example_once() -> None:
    sources = [Rows("a", {GERMAN: 30, SWAHILI: 5}), Rows("b", {SWAHILI: 10})]
    by_size = tuple(SourceSection(type="rows", weight="size") for _ in sources)
    data = DataSection(sources=by_size, languages=(GERMAN, SWAHILI), allocation=AllocationSection(policy="size"))
    mixture = Mixture(data, total=45, seed=1, sources=sources)
    assert len({mixture.draw(k) for k in range(45)}) == 45


def test_indices_on_disk_are_not_copied() -> None:
    class OnDisk(np.ndarray):
        """Numbers that can be asked for one at a time."""

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the whole array was asked for")

    source = Rows("a", {GERMAN: 50})
    source.by_language = {GERMAN: np.arange(50, dtype=np.int32).view(OnDisk)}
    mixture = Mixture(section([1], [GERMAN]), total=50, seed=1, sources=[source])
    assert sorted(mixture.draw(k)[1] for k in range(50)) == list(range(50))


def test_untranslated_sources_are_refused_and_said_what_to_do() -> None:
    waiting = SourceSection(type="rows", translate=True)
    sources = [Rows("a", {ENGLISH: 5})]
    with pytest.raises(ConfigError, match="is to be translated") as raised:
        Mixture(DataSection(sources=(waiting,), languages=(ENGLISH, GERMAN)), total=8, seed=1, sources=sources)
    assert "sources.0" in str(raised.value)
    english = Mixture(DataSection(sources=(waiting,), languages=(ENGLISH,)), total=8, seed=1, sources=sources)
    assert english.table() == {("a", ENGLISH): 8}


# --- what is held out ------------------------------------------------------------------------------------------------


def held(holdout: int, *, seed: int = 1, total: int = 400) -> Mixture:
    sources = [Rows("a", {GERMAN: 70, SWAHILI: 5}), Rows("b", {GERMAN: 9, HINDI: 1})]
    sections = tuple(SourceSection(type="rows") for _ in sources)
    data = DataSection(sources=sections, languages=(GERMAN, SWAHILI, HINDI), holdout=holdout)
    return Mixture(data, total=total, seed=seed, sources=sources)


def test_what_is_held_out_is_never_drawn_and_all_else_is() -> None:
    mixture = held(3)
    out = set(mixture.held_out())
    drawn = {mixture.draw(k) for k in range(len(mixture))}
    assert not out & drawn
    assert out | drawn == {(0, n) for n in range(75)} | {(1, n) for n in range(10)}


def test_so_many_of_each_source_and_language_are_held_out_but_never_more_than_half() -> None:
    mixture = held(3)
    found = Counter((s, mixture.sources[s][index].language) for s, index in mixture.held_out())
    assert found == {(0, GERMAN): 3, (0, SWAHILI): 2, (1, GERMAN): 3}
    assert held(0).held_out() == []


def test_the_first_of_what_is_held_out_has_all_sources_and_languages() -> None:
    mixture = held(3)
    first = [(s, mixture.sources[s][index].language) for s, index in mixture.held_out()[:3]]
    assert set(first) == {(0, GERMAN), (0, SWAHILI), (1, GERMAN)}


def test_every_stage_holds_out_the_same_whatever_its_seed_and_length() -> None:
    assert held(3).held_out() == held(3, seed=7, total=9).held_out()
    assert set(held(2).held_out()) <= set(held(3).held_out())


def test_no_example_comes_twice_before_all_but_the_held_out_came_once() -> None:
    mixture = held(3, total=40 * 3)
    german = [index for s, index in map(mixture.draw, range(120)) if s == 0 and index < 70]
    assert len(german) == 30
    assert len(set(german)) == 30
