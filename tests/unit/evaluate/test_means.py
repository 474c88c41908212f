"""Means over languages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from visiglot.evaluate.means import ALL, GroupMean, group_means
from visiglot.evaluate.metrics import METRICS, Statistics

EXACT = METRICS.get("exact")
THINGS = [f"thing {number}" for number in range(40)]


def right(*names: str, of: Sequence[str] = THINGS) -> Statistics:
    """Answers about `of`, right about `names`."""
    return Statistics(np.array([[float(one in names), 1.0] for one in of]), tuple(of))


def means(
    measured: Mapping[str, Statistics], groups: Mapping[str, Sequence[str]], base: str = ""
) -> dict[tuple[str, str], GroupMean]:
    rows = group_means("toy", "english", "caption", EXACT, measured, groups, base=base)
    return {(row.group, row.relative_to): row for row in rows}


GROUPS = {"pictured": ("deu_Latn", "fra_Latn"), "never": ("swh_Latn",)}


def test_every_language_counts_alike_however_many_answers_it_has() -> None:
    found = means({"deu_Latn": right(*THINGS), "fra_Latn": right(of=THINGS[:4])}, GROUPS)["pictured", ""]
    assert found.value == 0.5
    assert (found.n, found.things, found.languages) == (44, 40, ("deu_Latn", "fra_Latn"))
    assert found.low == found.high == 0.5


def test_things_are_resampled_and_not_answers() -> None:
    """Ten languages that are right about the same things tell as much about other things as one does."""
    codes = [f"l{number}" for number in range(10)]
    alone = means({"a": right(*THINGS[:20])}, {"one": ["a"]})["one", ""]
    alike = means({code: right(*THINGS[:20]) for code in codes}, {"ten": codes})["ten", ""]
    assert (alike.value, alike.low, alike.high) == pytest.approx((alone.value, alone.low, alone.high))
    shifted = {code: right(*THINGS[at : at + 20]) for at, code in zip(range(0, 20, 2), codes)}
    assert means(shifted, {"ten": codes})["ten", ""].high < alone.high


def test_the_ratio_is_of_the_means_and_of_the_same_resamples() -> None:
    measured = {"deu_Latn": right(*THINGS[:20]), "fra_Latn": right(*THINGS[:20]), "swh_Latn": right(*THINGS[:10])}
    found = means(measured, GROUPS, base="pictured")["never", "pictured"]
    assert found.value == 0.5
    assert found.languages == ("swh_Latn",)
    assert 0.25 < found.low < 0.5 < found.high < 0.75
    same = {"deu_Latn": right(*THINGS[:20]), "swh_Latn": right(*THINGS[:20])}
    exactly = means(same, GROUPS, base="pictured")["never", "pictured"]
    assert (exactly.value, exactly.low, exactly.high) == (1, 1, 1)


def test_all_languages_are_a_group_with_english_in_it() -> None:
    found = means({"eng_Latn": right(*THINGS), "swh_Latn": right()}, GROUPS)
    assert found[ALL, ""].value == 0.5
    assert found[ALL, ""].languages == ("eng_Latn", "swh_Latn")
    assert ("pictured", "") not in found  # nothing of it was measured


def test_without_its_base_there_is_no_ratio_and_over_nothing_it_has_no_value() -> None:
    assert not [key for key in means({"swh_Latn": right()}, GROUPS, base="pictured") if key[1]]
    nothing = means({"deu_Latn": right(), "swh_Latn": right(*THINGS)}, GROUPS, base="pictured")["never", "pictured"]
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)


def test_a_language_in_which_nothing_was_answered_takes_no_part() -> None:
    empty = Statistics(np.zeros((0, 1)), ())
    found = means({"deu_Latn": right(*THINGS), "fra_Latn": empty}, GROUPS)["pictured", ""]
    assert (found.value, found.languages) == (1, ("deu_Latn",))
    assert means({"fra_Latn": empty}, GROUPS) == {}


def test_one_thing_says_nothing_about_the_spread() -> None:
    found = means({"deu_Latn": right("one", of=["one"])}, GROUPS)["pictured", ""]
    assert found.value == 1
    assert math.isnan(found.low)
