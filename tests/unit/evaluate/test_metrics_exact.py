"""Exact match."""

from __future__ import annotations

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.exact import is_exact

EXACT = METRICS.get("exact")


@pytest.mark.parametrize(
    ("answer", "references", "right"),
    [
        ("cafe\u0301", ["café"], True),  # decomposed against composed
        ("café", ["cafe\u0301"], True),
        ("Katze ", ["Katze"], False),
        ("\nKatze", ["Katze"], False),
        ("katze", ["Katze"], False),  # case is kept: in German it is spelling
        ("a dog", ["cat", "a dog"], True),
        ("a  dog", ["a dog"], False),
        ("", ["cat"], False),
        ("cat.", ["cat"], False),
        ("STRASSE", ["Straße"], False),
        ("می\u200cخواهم", ["میخواهم"], False),  # joiners are spelling too
        ("ﬁsh", ["fish"], False),  # NFC, not NFKC
        ("한국", ["한국"], True),
    ],
)
def test_an_answer_is_exact_after_nfc_and_nothing_else(answer: str, references: list[str], right: bool) -> None:
    assert is_exact(answer, references) is right


def test_the_value_is_the_share_of_exact_answers() -> None:
    rows = [row("1", "cat"), row("2", "dog"), row("3", "cat"), row("4", "CAT")]
    statistics = EXACT.measure(rows, "eng_Latn")
    assert EXACT.reduce(statistics.values.sum(axis=0)) == 0.5
    assert statistics.groups == ("1", "2", "3", "4")


def test_a_row_without_a_group_is_its_own_group() -> None:
    rows = [row("1", "cat", group=""), row("2", "cat", group="")]
    assert EXACT.measure(rows, "eng_Latn").groups == ("1", "2")


def test_a_row_without_a_reference_is_an_error_and_not_wrong() -> None:
    from dataclasses import replace

    with pytest.raises(EvaluationError, match="no reference"):
        EXACT.measure([replace(row("1"), references=())], "eng_Latn")
