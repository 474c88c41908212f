"""Prediction and score files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import row

from visiglot.errors import EvaluationError
from visiglot.evaluate.means import GroupMean
from visiglot.evaluate.predictions import (
    prediction_line,
    read_means,
    read_predictions,
    read_scores,
    write_means,
    write_predictions,
    write_scores,
)
from visiglot.types import Score

ODD_TEXTS = [
    "قطة صغيرة",
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    "line\nbreak",
    "",
    '"quoted" \\',
    "e\u0301 stays decomposed",
]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row(str(i), text, text or "x", language="arb_Arab") for i, text in enumerate([*ODD_TEXTS, None])]
    path = tmp_path / "toy.english.arb_Arab.jsonl"
    write_predictions(rows, path)
    assert read_predictions(path) == rows


def test_a_file_made_on_windows_says_the_same(tmp_path: Path) -> None:
    rows = [row("1", "cat"), row("2", None)]
    path = tmp_path / "toy.english.eng_Latn.jsonl"
    text = "".join(map(prediction_line, rows)).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_predictions(path) == rows


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_row_is_one_line_for_every_reader(text: str) -> None:
    line = prediction_line(row("1", text))
    assert line.splitlines() == [line.removesuffix("\n")]


def test_text_is_written_readable_and_not_escaped() -> None:
    assert "猫" in prediction_line(row("1", "猫"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"text": None, "error": None}, "exactly one of `text` and `error`"),
        ({"text": "cat", "error": "broke"}, "exactly one of `text` and `error`"),
        ({"references": "cat"}, "`references` must be a list of texts"),
        ({"language": 7}, "`language` must be text"),
        ({"txet": "cat"}, "'txet', which isn't known"),
        ({"id": ...}, "lacks 'id'"),
    ],
)
def test_a_row_that_is_no_prediction_is_refused_with_its_line(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    values = json.loads(prediction_line(row("2"))) | changes
    values = {key: value for key, value in values.items() if value is not ...}
    path = tmp_path / "p.jsonl"
    path.write_text(prediction_line(row("1")) + json.dumps(values) + "\n")
    with pytest.raises(EvaluationError, match="line 2") as caught:
        read_predictions(path)
    assert complaint in str(caught.value)


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(prediction_line(row("1")) * 2)
    with pytest.raises(EvaluationError, match="twice"):
        read_predictions(path)


def test_a_cut_last_line_is_an_error_unless_the_run_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(prediction_line(row("1")) + prediction_line(row("2"))[:40])
    with pytest.raises(EvaluationError, match="line 2 is no JSON"):
        read_predictions(path)
    assert [r.id for r in read_predictions(path, torn=True)] == ["1"]


def test_scores_come_back_and_a_missing_value_is_null_in_the_file(tmp_path: Path) -> None:
    scores = [
        Score("toy", "english", "deu_Latn", "exact", "nfc", 4, 0.5, 0.25, 0.75, missing=1, task="caption"),
        Score("toy", "english", "eng_Latn", "exact", "nfc", 0, math.nan, math.nan, math.nan, missing=4),
    ]
    path = tmp_path / "scores.jsonl"
    write_scores(scores, path)
    assert json.loads(path.read_text().splitlines()[1])["value"] is None
    back = read_scores(path)
    assert back[0] == scores[0]
    assert math.isnan(back[1].value)
    assert back[1].missing == 4


def test_means_come_back_and_a_line_that_is_none_is_refused(tmp_path: Path) -> None:
    key = ("toy", "english", "caption", "exact", "nfc")
    means = [
        GroupMean(*key, "pictured", "", ("deu_Latn", "arb_Arab"), 8, 4, 0.5, 0.25, 0.75),
        GroupMean(*key, "never pictured", "pictured", ("jpn_Jpan",), 4, 4, math.nan, math.nan, math.nan),
    ]
    path = tmp_path / "means.jsonl"
    write_means(means, path)
    first, second = read_means(path)
    assert first == means[0]
    assert second.relative_to == "pictured"
    assert math.isnan(second.value)
    path.write_text('{"benchmark": "toy"}\n')
    with pytest.raises(EvaluationError, match="line 1 is no mean: it lacks 'group'"):
        read_means(path)
