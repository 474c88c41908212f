"""Loops and phrases that come back, and where both end."""

from __future__ import annotations

import pytest

from visiglot.translate.repetition import loop_in, repeated_share


@pytest.mark.parametrize(
    ("text", "unit", "times"),
    [
        ("der Hund " * 5, "der hund", 5),
        ("Der Hund läuft, der Hund der Hund der Hund der Hund", "der hund", 4),
        ("ab" + "a" * 20, "a", 20),
        ("一只狗一只狗一只狗一只狗一只狗一只狗", "一只狗", 6),
        ("คนคนคนคนคนคนคนคนคนคน", "คน", 10),
    ],
)
def test_the_phrase_that_follows_itself_is_found(text: str, unit: str, times: int) -> None:
    loop = loop_in(text, 4, 16)
    assert loop is not None
    assert (loop.unit, loop.times) == (unit, times)


def test_a_loop_needs_both_its_times_and_its_length() -> None:
    assert loop_in("der Hund " * 3, 4, 16) is None
    assert loop_in("der Hund " * 4, 4, 16) is not None
    assert loop_in("ha" * 7, 4, 16) is None
    assert loop_in("ha" * 8, 4, 16) is not None


def test_rows_of_signs_may_be_longer_than_rows_of_letters() -> None:
    assert loop_in("." * 47, 4, 16) is None
    assert loop_in("." * 48, 4, 16) is not None
    assert loop_in("1" * 20, 4, 16) is None


@pytest.mark.parametrize(
    "text", ["", "a", "Zwei Hunde spielen im Schnee.", "Anak-anak bermain bola", "hahaha", "No, no, no!"]
)
def test_ordinary_text_has_no_loop(text: str) -> None:
    assert loop_in(text, 4, 16) is None


def test_a_share_is_of_stretches_that_were_there_before() -> None:
    assert repeated_share("abcdefgh", 4) == 0
    assert repeated_share("abcdabcd", 4) == pytest.approx(1 / 5)
    assert repeated_share("ab cd ABCD", 4) == pytest.approx(1 / 5), "spaces and capitals don't matter"
    assert repeated_share("abc", 4) == 0
