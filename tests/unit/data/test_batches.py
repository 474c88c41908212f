"""Steps of rows of similar length, and the ledger of what was left out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from visiglot.config import DataSection, SourceSection
from visiglot.data.batches import WINDOW, Batches
from visiglot.data.ledger import Ledger
from visiglot.data.mixture import Mixture
from visiglot.errors import DataError, PromptError, TooLongError
from visiglot.render import load_template
from visiglot.types import Example, Message, PromptSpec, Sample

GERMAN = "deu_Latn"


class Lengths:
    """Row i has an answer of lengths[i] tokens."""

    name = "lengths"

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths
        self.by_language = {GERMAN: np.arange(len(lengths), dtype=np.int32)}
        self.reads = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Example:
        self.reads += 1
        return Example(
            f"row{index}", (Message("user", ("q",)), Message("assistant", ("a" * self.lengths[index],))), GERMAN
        )


SPEC = PromptSpec(
    layout="causal",
    encode=lambda text: [9 + ord(c) for c in text],
    image_token="<image>",
    image_token_id=0,
    tokens_per_image=1,
    template=load_template("plain"),
    pad_id=1,
    max_length=100,
)


def random_lengths(count: int, longest: int = 90) -> list[int]:
    return [int(n) for n in np.random.default_rng(0).integers(1, longest, count)]


def batches(
    lengths: list[int], *, rows: int = 4, total: int | None = None, group: bool = True, seed: int = 0,
    ledger: Ledger | None = None,
) -> Batches:  # fmt: skip
    data = DataSection(sources=(SourceSection(type="lengths"),), languages=(GERMAN,))
    mixture = Mixture(data, total=len(lengths) if total is None else total, seed=seed, sources=[Lengths(lengths)])
    return Batches(mixture, SPEC, rows=rows, group_by_length=group, seed=seed, ledger=ledger)


def ids(step: list[Sample]) -> list[str]:
    return [sample.id for sample in step]


@pytest.mark.parametrize("group", [True, False])
def test_every_draw_of_a_window_stands_in_exactly_one_step(group: bool) -> None:
    count = 4 * WINDOW * 2
    made = batches(random_lengths(count), group=group)
    for window in range(2):
        first = window * WINDOW
        found = [i for n in range(first, first + WINDOW) for i in ids(made.step(n))]
        drawn = [made.mixture[k].id for k in range(first * 4, (first + WINDOW) * 4)]
        assert sorted(found) == sorted(drawn)
    assert {len(made.step(n)) for n in range(len(made))} == {4}


def test_a_last_step_that_is_not_full_still_has_every_draw() -> None:
    made = batches(random_lengths(4 * WINDOW + 9), rows=4)
    assert len(made) == WINDOW + 3
    found = [i for n in range(len(made)) for i in ids(made.step(n))]
    assert len(found) == len(set(found)) == 4 * WINDOW + 9


def test_grouping_leaves_little_padding_and_a_random_order_of_steps() -> None:
    lengths = random_lengths(4 * WINDOW)

    def padding(made: Batches) -> float:
        steps = [[len(sample.ids) for sample in made.step(n)] for n in range(len(made))]
        return sum(max(step) * len(step) - sum(step) for step in steps) / sum(map(sum, steps))

    grouped = batches(lengths)
    assert padding(grouped) < 0.1 < 0.3 < padding(batches(lengths, group=False))
    longest = [max(len(sample.ids) for sample in grouped.step(n)) for n in range(WINDOW)]
    assert abs(np.corrcoef(longest, range(WINDOW))[0, 1]) < 0.5


def test_a_step_is_a_function_of_its_number() -> None:
    lengths = random_lengths(4 * WINDOW * 3)
    straight = batches(lengths, seed=7)
    expected = [ids(straight.step(n)) for n in range(len(straight))]
    resumed = batches(lengths, seed=7)
    for n in (WINDOW + 5, 3, 2 * WINDOW, WINDOW + 5):
        assert ids(resumed.step(n)) == expected[n]
    assert [ids(batches(lengths, seed=8).step(n)) for n in range(4)] != expected[:4]


def test_the_seed_of_the_batches_orders_the_steps_of_one_mixture() -> None:
    mixture = batches(random_lengths(4 * WINDOW)).mixture
    orders = [
        [ids(made.step(n)) for n in range(WINDOW)]
        for seed in (1, 2)
        for made in [Batches(mixture, SPEC, rows=4, group_by_length=True, seed=seed, ledger=None)]
    ]
    assert orders[0] != orders[1]


def test_a_step_renders_its_own_window_once() -> None:
    made = batches(random_lengths(4 * WINDOW * 3))
    source = made.mixture.sources[0]
    assert isinstance(source, Lengths)
    for n in range(WINDOW, 2 * WINDOW):
        made.step(n)
    assert source.reads == 4 * WINDOW


def test_too_long_examples_are_counted_and_leave_fewer_rows(tmp_path: Path) -> None:
    lengths = random_lengths(4 * WINDOW)
    for place in (3, 50, 51):
        lengths[place] = 500
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl", max_share=0.1)
    made = batches(lengths, ledger=ledger)
    sizes = [len(made.step(n)) for n in (*range(WINDOW), *range(WINDOW))]
    assert sum(sizes[:WINDOW]) == 4 * WINDOW - 3
    assert min(sizes) == 3
    assert (ledger.seen, ledger.skipped) == (4 * WINDOW, 3)
    rows = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == ["row3", "row50", "row51"]
    assert {row["reason"] for row in rows} == {"too long"}
    assert all("the model takes 100" in row["detail"] for row in rows)


def test_a_window_that_is_read_again_is_not_counted_again(tmp_path: Path) -> None:
    ledger = Ledger(None, max_share=0.1)
    made = batches([500, *random_lengths(4 * WINDOW * 2 - 1)], ledger=ledger)
    for n in (0, WINDOW, 0, WINDOW):
        made.step(n)
    assert (ledger.seen, ledger.skipped) == (4 * WINDOW * 2, 1)


def test_without_a_ledger_a_too_long_example_is_an_error() -> None:
    with pytest.raises(TooLongError, match="row0"):
        batches([500] + [5] * 7).step(0)


def test_a_step_with_no_row_left_is_an_error() -> None:
    ledger = Ledger(None, max_share=1.0)
    made = batches([500] * 4, ledger=ledger)
    with pytest.raises(DataError, match="no rows left"):
        made.step(0)


def test_an_example_that_does_not_fit_together_is_an_error_with_a_ledger_too() -> None:
    with pytest.raises(PromptError, match="assistant turn is empty"):
        batches([0] + [5] * 7, ledger=Ledger(None, max_share=1.0)).step(0)


def test_a_step_beyond_the_last_is_an_index_error() -> None:
    made = batches(random_lengths(8))
    for n in (2, -1):
        with pytest.raises(IndexError):
            made.step(n)


def test_the_ledger_stops_a_run_that_leaves_out_too_much() -> None:
    ledger = Ledger(None, max_share=0.02, grace=100)
    ledger.count(50)
    ledger.skip("a", "unreadable picture", "picture a: broken PNG")
    ledger.skip("b", "too long")
    with pytest.raises(DataError, match=r"3 of 50 examples can't be used \(too long 2, unreadable picture 1\)"):
        ledger.skip("c", "too long")
    ledger.count(1000)
    ledger.skip("d", "too long")
    assert ledger.skipped == 4


def test_a_share_of_nothing_allows_no_skip() -> None:
    with pytest.raises(DataError):
        Ledger(None, max_share=0).skip("a", "too long")


def test_the_ledger_goes_on_where_a_crash_cut_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path, max_share=1)
    first.skip("a", "too long", "detail")
    first.skip("b", "too long")
    path.write_text(path.read_text()[:-5])
    second = Ledger(path, max_share=1)
    second.skip("a", "too long")
    second.skip("b", "too long")
    second.skip("c", "too long")
    good = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line)["id"] for line in good] == ["a", "b", "c"]
    assert second.skipped == 3


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        Ledger(tmp_path / "file" / "ledger.jsonl", max_share=1).skip("a", "too long")


class Tongues(Lengths):
    """Short answers in German, and in Amharic answers of three times as many tokens."""

    def __init__(self, count: int) -> None:
        shorter = [int(n) for n in np.random.default_rng(4).integers(5, 25, count)]
        super().__init__([*shorter, *(3 * n for n in shorter)])
        self.languages = [GERMAN] * count + ["amh_Ethi"] * count
        places = np.arange(2 * count, dtype=np.int32)
        self.by_language = {GERMAN: places[:count], "amh_Ethi": places[count:]}

    def __getitem__(self, index: int) -> Example:
        return dataclasses.replace(super().__getitem__(index), language=self.languages[index])


def two_tongues(*, balance_languages: bool) -> tuple[list[float], float]:
    """The share of German in each step of two windows, and of padding in passes of four rows."""
    count, rows = WINDOW * 12, 12
    data = DataSection(sources=(SourceSection(type="tongues"),), languages=(GERMAN, "amh_Ethi"))
    mixture = Mixture(data, total=2 * count, seed=1, sources=[Tongues(count)])
    made = Batches(
        mixture, SPEC, rows=rows, group_by_length=True, balance_languages=balance_languages, seed=1, ledger=None
    )
    steps = [made.step(n) for n in range(len(made))]
    assert len({id_ for step in steps for id_ in ids(step)}) == 2 * count
    shares = [sum(sample.language == GERMAN for sample in step) / rows for step in steps]
    passes = [[len(sample.ids) for sample in step[at : at + 4]] for step in steps for at in (0, 4, 8)]
    padded = sum(max(lengths) * len(lengths) for lengths in passes)
    return shares, 1 - sum(map(sum, passes)) / padded


def test_a_step_has_its_share_of_each_language_where_lengths_go_by_language() -> None:
    parted, padding = two_tongues(balance_languages=False)
    assert min(parted) == 0  # so that it's worth having: steps of one language alone
    assert max(parted) == 1
    balanced, more_padding = two_tongues(balance_languages=True)
    assert all(abs(share - 0.5) <= 0.25 for share in balanced)
    assert np.std(balanced) < 0.1
    assert padding < more_padding < 0.25


def test_balanced_steps_are_a_function_of_their_number_too() -> None:
    first, second = (two_tongues(balance_languages=True) for _ in range(2))
    assert first == second
