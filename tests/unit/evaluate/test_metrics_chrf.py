"""chrF."""

from __future__ import annotations

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.evaluate.metrics import METRICS

pytest.importorskip("sacrebleu")
CHRF = METRICS.get("chrf-sentence")


def value(*rows: tuple[str, ...]) -> float:
    predictions = [row(str(i), answer, *references) for i, (answer, *references) in enumerate(rows)]
    return float(CHRF.reduce(CHRF.measure(predictions, "eng_Latn").values.sum(axis=0)))


def test_equal_texts_score_a_hundred_in_any_script() -> None:
    assert value(("red house", "red house"), ("赤い家", "赤い家"), ("بيت أحمر", "بيت أحمر")) == pytest.approx(100)


def test_texts_without_a_common_letter_score_nothing() -> None:
    assert value(("dog", "猫")) == 0


def test_it_equals_chrf_by_hand() -> None:
    """ "abc" against "abd": 2 of 3 letters, 1 of 2 pairs, 0 of 1 triples; precision equals recall, and orders that
    neither text has are left out: the mean of 2/3, 1/2 and 0."""
    assert value(("abc", "abd")) == pytest.approx(100 * (2 / 3 + 1 / 2) / 3, abs=1e-6)


def test_recall_weighs_four_times_as_much_as_precision() -> None:
    """ "ab" against "abcd": precision 1 and 1; recall 2/4 and 1/3; mean precision 1, mean recall 5/12;
    F2 = 5 p r / (4 p + r)."""
    precision, recall = 1.0, (2 / 4 + 1 / 3) / 2
    assert value(("ab", "abcd")) == pytest.approx(100 * 5 * precision * recall / (4 * precision + recall), abs=1e-6)


def test_the_best_reference_counts() -> None:
    assert value(("red house", "a tree", "red house")) == pytest.approx(100)


def test_the_value_is_the_mean_of_the_sentences() -> None:
    assert value(("red house", "red house"), ("dog", "猫")) == pytest.approx(50)


def test_the_tokenisation_names_the_library_its_version_and_how_sentences_are_joined() -> None:
    import sacrebleu

    assert CHRF.tokenisation() == (
        f"sacrebleu:case:mixed|eff:yes|nc:6|nw:0|space:no|version:{sacrebleu.__version__}|mean-of-sentences"
    )
