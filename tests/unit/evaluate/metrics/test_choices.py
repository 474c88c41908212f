"""Accuracies of multiple-choice questions: by letter, folded, by M4U's parsers and by likelihood."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Statistics
from visiglot.evaluate.metrics.choice import vlmevalkit_letter
from visiglot.evaluate.metrics.m4u import last_letter, proper_options, release_options
from visiglot.types import Prediction

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "choices.json").read_text(encoding="utf-8"))
M4U = ("m4u-accuracy", "m4u-accuracy-release")
ANIMALS = ("cat", "dog", "cow", "pig")


def asked(id: str, text: str, gold: str = "A", *, index: int = 0, rows: int = 1, **facts: str) -> Prediction:
    return replace(row(id, text, gold), choices=ANIMALS, facts={"index": str(index), "index_rows": str(rows)} | facts)


def value(name: str, rows: list[Prediction]) -> tuple[float, Statistics]:
    metric = METRICS.get(name)
    statistics = metric.measure(rows, "eng_Latn")
    return float(metric.reduce(statistics.values.sum(axis=0))), statistics


def test_vlmevalkits_letters_are_its_own() -> None:
    for answer, options, letter in GOLDEN["vlmevalkit"]:
        assert vlmevalkit_letter(answer, tuple(options), "eng_Latn") == (letter or None), answer


def test_vlmevalkit_knows_no_letter_without_an_option() -> None:
    assert vlmevalkit_letter("a dog", ("cat", "", "dog"), "eng_Latn") == "C"
    assert vlmevalkit_letter("B", ("cat", "", "dog"), "eng_Latn") is None


def test_m4us_letters_are_its_releases_and_its_parsers_on_the_list() -> None:
    for answer, stored, release, proper in GOLDEN["m4u"]:
        question = replace(row("1", answer), facts={"published_options": stored})
        assert (last_letter(answer, release_options(question)) or "Z") == release, (answer, stored)
        assert (last_letter(answer, proper_options(question)) or "Z") == proper, (answer, stored)


def test_m4us_options_may_have_line_breaks_inside_quotation_marks() -> None:
    stored = "['a red\ncar', 'a cat']"
    assert proper_options(replace(row("1", "A", "A"), facts={"published_options": stored})) == {
        "A": "a red car",
        "B": "a cat",
    }


def test_m4us_release_and_the_right_parsing_differ_as_numbers() -> None:
    answers = [("The answer is a", "A"), ("it is the dog and then the cat in the picture", "B"), ("(B)", "B")]
    facts = {"published_options": "['red car', 'cat', 'dark car', 'dog']"}
    rows = [replace(row(str(place), text, gold), facts=facts) for place, (text, gold) in enumerate(answers)]
    right = {name: METRICS.get(name).measure(rows, "deu_Latn").values[:, 0].tolist() for name in M4U}
    assert right == {"m4u-accuracy": [0, 1, 1], "m4u-accuracy-release": [1, 0, 1]}


def test_options_that_are_no_list_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="no list"):
        value("m4u-accuracy", [replace(row("1", "A", "A"), facts={"published_options": "A. cat B. dog"})])
    with pytest.raises(EvaluationError, match="no fact"):
        value("m4u-accuracy-release", [row("1", "A", "A")])


def test_an_answer_without_a_letter_is_wrong_and_counted() -> None:
    rows = [asked("1", "A"), asked("2", "no idea"), asked("3", "答案是A"), asked("4", "B")]
    accuracy, statistics = value("choice-accuracy", rows)
    assert (accuracy, len(statistics.values), statistics.undetermined) == (0.5, 4, 0)
    assert value("letter-failures", rows)[0] == 0.25
    assert value("choice-accuracy-vlmevalkit", rows)[0] == 0.25
    assert value("letter-failures-vlmevalkit", rows)[0] == 0.5
    assert not METRICS.get("letter-failures").higher_is_better


def test_a_question_counts_once_and_only_if_every_rotation_is_right() -> None:
    rows = [
        asked("1", "A", "A", index=7, rows=2),
        asked("2", "B", "B", index=1_000_007, rows=2),
        asked("3", "A", "A", index=8, rows=2),
        asked("4", "A", "B", index=1_000_008, rows=2),
        asked("5", "C", "C", index=9, rows=1),
    ]
    circular, statistics = value("circular-accuracy", rows)
    assert circular == pytest.approx(2 / 3)
    assert (len(statistics.values), statistics.undetermined) == (3, 0)
    pairs, statistics = value("pair-accuracy", rows)
    assert (pairs, len(statistics.values)) == (circular, 3)
    by_row, statistics = value("choice-accuracy", rows)
    assert (by_row, len(statistics.values)) == (0.8, 5)


def test_a_question_with_a_row_missing_is_undetermined_and_not_easier() -> None:
    rows = [asked("1", "A", "A", index=7, rows=4), asked("2", "B", "C", index=8, rows=1)]
    accuracy, statistics = value("circular-accuracy", rows)
    assert (accuracy, len(statistics.values), statistics.undetermined) == (0.0, 1, 1)


def test_circular_accuracy_needs_the_rows_numbers() -> None:
    with pytest.raises(EvaluationError, match="index_rows"):
        value("pair-accuracy", [replace(asked("1", "A"), facts={"index": "3"})])


def test_only_incomplete_questions_leave_no_unit_and_no_error() -> None:
    statistics = METRICS.get("circular-accuracy").measure([asked("1", "A", index=1, rows=4)], "eng_Latn")
    assert (statistics.values.shape, statistics.groups, statistics.undetermined) == ((0, 2), (), 1)


def test_ranking_takes_the_likeliest_choice_whole_or_by_the_character() -> None:
    ranked = replace(
        row("1", "a long choice", "a long choice"), choices=("no", "a long choice"), likelihoods=(-3.0, -4.0)
    )
    assert value("likelihood-accuracy", [ranked])[0] == 0.0
    assert value("likelihood-accuracy-by-character", [ranked])[0] == 1.0


def test_rows_that_were_not_ranked_are_undetermined() -> None:
    ranked = replace(asked("1", "cat", "A"), likelihoods=(-1.0, -2.0, -3.0, -4.0))
    accuracy, statistics = value("likelihood-accuracy", [ranked, asked("2", "A"), replace(ranked, references=("dog",))])
    assert (accuracy, len(statistics.values), statistics.undetermined) == (0.5, 2, 1)


def test_a_reference_that_is_no_choice_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="none of its references"):
        value("likelihood-accuracy", [replace(asked("1", "A", "bird"), likelihoods=(-1.0, -2.0, -3.0, -4.0))])
