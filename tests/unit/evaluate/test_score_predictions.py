"""Predictions -> scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError, UnknownNameError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.predictions import prediction_path, read_means, read_scores, write_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.types import Prediction, Score

pytest.importorskip("sacrebleu")


def write(out: Path, *rows: Prediction) -> None:
    for language in {r.language for r in rows}:
        path = prediction_path(out, rows[0].benchmark, rows[0].prompt_set, language)
        write_predictions([r for r in rows if r.language == language], path)


def exact(out: Path) -> dict[str, Score]:
    return {score.language: score for score in score_predictions(out) if score.metric == "exact"}


def test_scores_equal_those_counted_by_hand(toy: Benchmark, out: Path) -> None:
    german = [row(str(i), text, "Katze", language="deu_Latn") for i, text in enumerate(["Katze", "Hund", "Katze"])]
    write(out, row("1", "cat"), row("2", "dog", "dog"), *german)
    scores = exact(out)
    assert scores["eng_Latn"].value == 1
    assert scores["deu_Latn"].value == pytest.approx(2 / 3)
    assert scores["deu_Latn"].n == 3
    assert scores["deu_Latn"].tokenisation == "nfc"
    assert scores["deu_Latn"].low <= scores["deu_Latn"].value <= scores["deu_Latn"].high


def test_a_failed_row_is_counted_and_takes_no_part(toy: Benchmark, out: Path) -> None:
    write(out, row("1", "cat"), row("2", "dog"), row("3", None))
    score = exact(out)["eng_Latn"]
    assert (score.n, score.missing, score.value) == (2, 1, 0.5)


def test_an_empty_answer_is_wrong_and_not_missing(toy: Benchmark, out: Path) -> None:
    write(out, row("1", "cat"), row("2", ""))
    score = exact(out)["eng_Latn"]
    assert (score.n, score.missing, score.value) == (2, 0, 0.5)


def test_a_language_in_which_all_failed_has_no_value(toy: Benchmark, out: Path) -> None:
    write(out, row("1", None), row("2", None))
    score = exact(out)["eng_Latn"]
    assert (score.n, score.missing) == (0, 2)
    assert math.isnan(score.value)


def test_the_file_holds_what_is_returned_and_scoring_again_gives_it_again(toy: Benchmark, out: Path) -> None:
    write(out, row("1", "cat"), row("2", "dog"), row("3", "cat"))
    scores = score_predictions(out)
    assert read_scores(out / "scores.jsonl") == scores
    before = (out / "scores.jsonl").read_bytes()
    score_predictions(out)
    assert (out / "scores.jsonl").read_bytes() == before


def test_the_means_are_those_of_the_languages_values(toy: Benchmark, out: Path) -> None:
    german = [row(str(i), text, "Katze", language="deu_Latn") for i, text in enumerate(["Katze", "Hund", "Hund"])]
    write(out, row("1", "cat"), row("2", "dog"), row("3", None), *german)
    score_predictions(out)
    means = {(m.group, m.metric): m for m in read_means(out / "means.jsonl")}
    assert means["all languages", "exact"].value == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert (means["all languages", "exact"].n, means["all languages", "exact"].things) == (5, 3)
    assert means["other languages", "exact"].languages == ("deu_Latn",)
    assert {metric for _, metric in means} == {"exact", "chrf-sentence"}


def test_answers_of_two_models_under_one_name_are_refused(toy: Benchmark, out: Path) -> None:
    write(out, row("1"), row("1", language="deu_Latn", settings_hash="other"))
    with pytest.raises(EvaluationError, match="different models or settings"):
        score_predictions(out)


def test_a_file_whose_name_lies_is_refused(toy: Benchmark, out: Path) -> None:
    write_predictions([row("1", language="deu_Latn")], prediction_path(out, "toy", "english", "eng_Latn"))
    with pytest.raises(EvaluationError, match=r"its rows say toy\.english\.deu_Latn"):
        score_predictions(out)


def test_an_unknown_benchmark_names_the_nearest(toy: Benchmark, out: Path) -> None:
    write(out, row("1", benchmark="tooy"))
    with pytest.raises(UnknownNameError, match="toy"):
        score_predictions(out)


def test_an_unknown_task_is_refused(toy: Benchmark, out: Path) -> None:
    write(out, row("1", task="poetry"))
    with pytest.raises(EvaluationError, match="no task 'poetry'"):
        score_predictions(out)


def test_a_folder_without_predictions_says_what_makes_them(out: Path) -> None:
    with pytest.raises(EvaluationError, match="no predictions in") as caught:
        score_predictions(out)
    assert "visiglot evaluate" in str(caught.value)
