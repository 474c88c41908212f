"""POPE under its own rule and under the rule for every language."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS
from visiglot.evaluate.metrics.pope import native_yes_no, official_yes_no
from visiglot.languages import all_languages, language
from visiglot.types import Prediction

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "pope.json").read_text(encoding="utf-8"))
NAMES = ("pope-accuracy", "pope-precision", "pope-recall", "pope-f1", "pope-yes-ratio")


def values(rows: list[Prediction], ending: str = "", code: str = "eng_Latn") -> list[float]:
    found = []
    for name in NAMES:
        metric = METRICS.get(name + ending)
        found.append(float(metric.reduce(metric.measure(rows, code).values.sum(axis=0))))
    return found


def test_the_official_rule_says_what_popes_script_says() -> None:
    assert [[text, official_yes_no(text, "eng_Latn")] for text, _ in GOLDEN["said"]] == GOLDEN["said"]


def test_scores_under_the_official_rule_are_popes() -> None:
    rows = [row(str(place), text, gold) for place, (text, gold) in enumerate(GOLDEN["rows"])]
    assert values(rows, "-official") == pytest.approx(GOLDEN["scores"][0], abs=1e-12)


@pytest.mark.parametrize(
    ("code", "answer", "said"),
    [
        ("eng_Latn", "Yes, there is.", "yes"),
        ("eng_Latn", "NO", "no"),
        ("eng_Latn", "No, yes is wrong", "no"),
        ("eng_Latn", "There is not.", None),
        ("eng_Latn", "nobody", None),
        ("eng_Latn", "", None),
        ("deu_Latn", "Nein, da ist kein Hund.", "no"),
        ("deu_Latn", "Yes", "yes"),  # right in the wrong language: fidelity is another metric
        ("fin_Latn", "No, kyllä", "yes"),
        ("pol_Latn", "no tak", "yes"),
        ("spa_Latn", "SÍ", "yes"),
        ("tur_Latn", "HAYIR", "no"),
        ("arb_Arab", "لا، لا يوجد", "no"),
        ("zho_Hans", "不是", "no"),
        ("zho_Hans", "是的。", "yes"),
        ("zho_Hans", "没有", "no"),
        ("jpn_Jpan", "いいえ、いません", "no"),
        ("kor_Hang", "아니요", "no"),
        ("vie_Latn", "Không có", "no"),
        ("tha_Thai", "ไม่ใช่", "no"),
        ("zul_Latn", "yebo", None),
    ],
)
def test_the_first_word_for_yes_or_no_in_the_language_counts(code: str, answer: str, said: str | None) -> None:
    assert native_yes_no(answer, code) == said


@pytest.mark.parametrize("word", ["yes", "no"])
def test_every_languages_own_words_are_told_apart(word: str) -> None:
    codes = [one.code for one in all_languages() if word in one.literals]
    assert len(codes) > 50
    for code in codes:
        literal = language(code).literals[word]
        dotted = literal.replace("i", "İ") if code in ("azj_Latn", "tur_Latn") else literal
        for answer in (literal, dotted.upper() + "."):
            assert native_yes_no(answer, code) == word, code


def test_an_undetermined_answer_is_wrong_missed_and_no_yes() -> None:
    rows = [row("1", "yes", "yes"), row("2", "perhaps", "yes"), row("3", "perhaps", "no"), row("4", "no", "no")]
    assert values(rows) == pytest.approx([0.5, 1.0, 0.5, 2 / 3, 0.25])
    failures = METRICS.get("yes-no-failures")
    assert failures.reduce(failures.measure(rows, "eng_Latn").values.sum(axis=0)) == 0.5


def test_what_cannot_be_divided_has_no_value() -> None:
    accuracy, precision, recall, f1, ratio = values([row("1", "no", "no")])
    assert (accuracy, ratio) == (1.0, 0.0)
    assert all(map(math.isnan, (precision, recall, f1)))
    assert values([row("1", "no", "yes")])[3] == 0.0


def test_ratios_are_taken_of_sums_in_every_resample() -> None:
    sums = np.array([[1, 0, 0, 1, 0, 0], [2, 2, 0, 0, 0, 0]], dtype=float)
    assert METRICS.get("pope-precision").reduce(sums).tolist() == [1.0, 0.5]


def test_the_reference_may_be_in_the_language_and_must_be_yes_or_no() -> None:
    right = row("1", "ja", "Ja", language="deu_Latn")
    assert values([right], code="deu_Latn")[0] == 1.0
    with pytest.raises(EvaluationError, match="neither yes nor no"):
        values([row("1", "yes", "cat")])
