"""A study's page from its lines: what it says, and what it doesn't."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.studies.conftest import MakeRow

from studies.page import BEGIN, END, write_page
from studies.rows import append_row
from studies.study import Study
from studies.summary import difference, load_results, number
from visiglot.errors import EvaluationError

pytest.importorskip("matplotlib")


Page = Callable[..., str]


@pytest.fixture
def page(toy: Study, make_row: MakeRow, tmp_path: Path) -> Page:
    """`page([10, 11, 12], [15, 16, 17])`: the page when so many of 20 concepts are right in each seed of both arms."""

    def made(base: Sequence[int], other: Sequence[int], **changes: object) -> str:
        cells = [{"arm": arm, "seed": seed, "identity": f"{arm}-{seed}"} for seed in toy.seeds for arm in toy.arms]
        append_row({"kind": "plan", "study": "toy", "cells": cells}, tmp_path / "toy.jsonl")
        for arm, values in (("base", base), ("other", other)):
            for seed, right in enumerate(values, 1):
                append_row(make_row(arm, seed, right, **changes), tmp_path / "toy.jsonl")
        return write_page(toy, tmp_path).read_text(encoding="utf-8")

    return made


def claims(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("- others: ")]


def test_an_arm_is_ahead_when_all_its_seeds_are_and_the_interval_leaves_out_zero(page: Page) -> None:
    (claim,) = claims(page([16, 17, 18], [5, 6, 7]))
    assert "`base` is ahead of `other`, 85.0 % against 30.0 %: +55.0 points (95 % paired interval" in claim
    assert "`other` reaches 35 % of `base`" in claim


def test_the_second_arm_may_be_ahead(page: Page) -> None:
    (claim,) = claims(page([5, 6, 7], [16, 17, 18]))
    assert "`other` is ahead of `base`, 85.0 % against 30.0 %: +55.0 points (95 % paired interval" in claim
    low, high = re.search(r"concepts \+([\d.]+) to \+([\d.]+)", claim).groups()  # type: ignore[union-attr]
    assert float(low) < 55 < float(high)


def test_no_difference_is_claimed_when_seeds_overlap(page: Page) -> None:
    (claim,) = claims(page([5, 6, 15], [14, 17, 18]))
    assert "no difference between `base` and `other` can be claimed, their seeds overlap" in claim
    assert "(25.0–75.0 and 70.0–90.0; means 43.3 % against 81.7 %)" in claim
    assert "ahead" not in claim


def test_no_difference_is_claimed_when_equal_seeds_touch(page: Page) -> None:
    (claim,) = claims(page([10, 10, 10], [10, 10, 10]))
    assert "can be claimed, their seeds overlap" in claim


def test_no_difference_is_claimed_when_other_concepts_might_undo_it(page: Page) -> None:
    (claim,) = claims(page([11, 11, 11], [10, 10, 10]))  # all of it is one concept
    assert "with other concepts it may as well be zero" in claim
    assert "ahead" not in claim


def test_one_seed_claims_nothing(page: Page) -> None:
    (claim,) = claims(page([18], [5]))
    assert "has 90.0 % against 25.0 % of `other`, with 1 and 1 seeds; too few to claim" in claim


def test_an_arm_that_isnt_measured_is_said(page: Page) -> None:
    text = page([18, 18, 18], [])
    assert "can't be compared yet" in claims(text)[0]
    assert "3 of 6 cells" in text
    assert "3 are missing" in text


def test_a_table_has_mean_seeds_and_interval(page: Page) -> None:
    text = page([9, 10, 11], [16, 17, 18])
    row = next(line for line in text.splitlines() if line.startswith("| base | 3 |"))
    assert "**50.0 %**<br>45.0–55.0<br>[" in row
    assert "others<br>2 languages, 40 answers" in text


def test_cells_over_their_time_are_named(page: Page) -> None:
    assert "Over the" not in page([9], [10])
    text = page([], [10, 11], over=True, seconds={"training": 600.0, "evaluation": 90.0, "total": 690.0})
    assert "Over the 10 minutes that a cell may take: " in text
    assert "`other`, seed 2 (11.5 minutes)" in text


def test_words_between_the_markers_stay(page: Page, toy: Study, tmp_path: Path) -> None:
    text = page([9, 10, 11], [16, 17, 18])
    path = tmp_path / "toy.md"
    path.write_text(text.replace("Not written yet.", "In short:\n\nit | works."), encoding="utf-8")
    again = write_page(toy, tmp_path).read_text(encoding="utf-8")
    assert f"{BEGIN}\nIn short:\n\nit | works.\n{END}" in again
    assert again == write_page(toy, tmp_path).read_text(encoding="utf-8")


def test_a_page_without_markers_isnt_written_over(page: Page, toy: Study, tmp_path: Path) -> None:
    (tmp_path / "toy.md").write_text("Somebody's page", encoding="utf-8")
    with pytest.raises(EvaluationError, match="has no <!--"):
        write_page(toy, tmp_path)
    assert (tmp_path / "toy.md").read_text(encoding="utf-8") == "Somebody's page"


def test_a_study_without_lines_has_a_page_that_says_so(toy: Study, tmp_path: Path) -> None:
    text = write_page(toy, tmp_path).read_text(encoding="utf-8")
    assert "None of the 6 cells is measured yet" in text
    assert "toy.svg" not in text
    assert not (tmp_path / "toy.svg").exists()


def test_the_plot_is_the_same_for_the_same_numbers_and_tells_no_time(page: Page, toy: Study, tmp_path: Path) -> None:
    page([9, 10, 11], [16, 17, 18])
    first = (tmp_path / "toy.svg").read_bytes()
    write_page(toy, tmp_path)
    assert (tmp_path / "toy.svg").read_bytes() == first
    assert b"<dc:date>" not in first
    assert b">Which one?<" in first  # words are words


def test_rows_that_the_plan_no_longer_asks_for_are_left_out(page: Page, toy: Study, tmp_path: Path) -> None:
    page([9, 10, 11], [16, 17, 18])
    cells = [{"arm": "base", "seed": 1, "identity": "new"}]
    append_row({"kind": "plan", "study": "toy", "cells": cells}, tmp_path / "toy.jsonl")
    assert load_results(toy, tmp_path).measured == 0


def test_an_interval_resamples_concepts_not_answers(toy: Study, make_row: MakeRow) -> None:
    column = toy.column("others")
    one = number(toy, [make_row("base", 1, 10)], column)
    three = number(toy, [make_row("base", seed, 10) for seed in (1, 2, 3)], column)
    assert (one.low, one.high) == (three.low, three.high)  # the same concepts again tell nothing new
    assert one.low < 0.5 < one.high


def test_answers_that_failed_or_werent_asked_take_no_part(toy: Study, make_row: MakeRow) -> None:
    row = make_row("base", 1, 10)
    row["right"]["toy"]["languages"]["deu_Latn"] = "1" * 5 + "!" * 10 + "-" * 5
    found = difference(toy, [row], [make_row("other", 1, 0)], toy.column("others"))
    assert found.low > 0.3
    assert found.high <= 1


def test_arms_that_were_asked_different_things_have_no_paired_interval(toy: Study, make_row: MakeRow) -> None:
    other = make_row("other", 1, 3)
    other["right"]["toy"]["groups"][0] = "something else"
    found = difference(toy, [make_row("base", 1, 10)], [other], toy.column("others"))
    assert found.low != found.low


def test_what_memory_an_arm_takes_is_in_the_table_of_arms_once_it_is_measured(
    page: Page, toy: Study, tmp_path: Path
) -> None:
    assert "MB of memory" not in page([9, 10, 11], [16, 17, 18])
    for peak in (900, 1234):  # measured twice: the later one counts
        row = {"kind": "memory", "arm": "other", "identity": "other-1", "steps": 20, "peak_mb": peak}
        append_row(row, tmp_path / "toy.jsonl")
    append_row(
        {"kind": "memory", "arm": "base", "identity": "of older weights", "steps": 5, "peak_mb": 7},
        tmp_path / "toy.jsonl",
    )
    text = write_page(toy, tmp_path).read_text(encoding="utf-8")
    assert "| MB of memory |" in text
    assert "| other | the other | 3 | 7 | 700 | 100 | 20 | 1,234 |" in text
    assert "| base | the base | 3 | 7 | 700 | 100 | 20 | – |" in text
    assert "for the first 20 steps" in text
