"""M4U as its data set publishes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.drawn import draw
from tests.packed_data import write_parquet
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.types import ImageSlot


def test_a_picture_stands_where_the_question_marks_it(examples: Examples) -> None:
    row = examples("m4u")["science/0"]
    assert row.messages[0].content == (
        ImageSlot(0),
        " What is drawn, science en?\nA. a square\nB. a circle\nAnswer with the letter of the right option only.",
    )


def test_pictures_may_be_the_options(examples: Examples) -> None:
    row = examples("m4u", "deu_Latn", "paper")["science/1"]
    assert row.messages[0].content == (
        "science de: which is the blue one?\nA. ",
        ImageSlot(0),
        "\nB. ",
        ImageSlot(1),
        "\nC. neither\nAntworten Sie direkt mit dem Buchstaben der gegebenen Optionen.",
    )
    assert [image.read() for image in row.images] == [draw("green", "square"), draw("blue", "square")]


def test_the_options_are_kept_as_published_and_as_a_list(examples: Examples) -> None:
    row = examples("m4u", "zho_Hans")["healthcare/0"]
    assert row.facts["published_options"] == "['a square', 'a circle']"
    assert json.loads(row.facts["options"]) == ["a square", "a circle"]
    assert row.choices == ("A", "B")
    assert (examples("m4u", "deu_Latn")["science/0"].facts["cross_lingual"], row.facts["cross_lingual"]) == (
        "true",
        "false",
    )


def test_languages_share_pictures_and_order(examples: Examples) -> None:
    english, german = examples("m4u"), examples("m4u", "deu_Latn")
    assert list(english) == list(german)
    assert all(english[id].images == german[id].images for id in english)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": "a, b"}, "field `options`: must be a list of two options or more, or its writing, found 'a, b'"),
        ({"answer": "D"}, "field `answer`: must be one of A, B, found 'D'"),
        ({"question": "<image_2>?"}, "field `question`: marks more pictures than the 1 that the row has"),
        ({"image_files": [{"bytes": None, "path": "x.png"}]}, "field `image_files`: is a picture without bytes"),
    ],
)
def test_a_bad_row_is_said_with_its_place(root: Path, changes: dict[str, object], said: str) -> None:
    file = root / "m4u/data/science_en-00000-of-00001.parquet"
    row = {
        "question": "What?",
        "image_files": [{"bytes": draw("red", "bar"), "path": "x.png"}],
        "options": "['a', 'b']",
        "answer": "A",
        "discipline": "Optical",
        "cross_lingual": False,
    }
    write_parquet(file, [row | changes])
    with pytest.raises(EvaluationError) as caught:
        BENCHMARKS.get("m4u").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)
    assert caught.value.message == f"{file}, row 0, {said}"
    assert "huggingface.co/datasets/M4U-Benchmark/M4U" in (caught.value.hint or "")


def test_a_file_without_a_column_is_said(root: Path) -> None:
    file = root / "m4u/data/science_en-00000-of-00001.parquet"
    write_parquet(file, [{"question": "What?", "image_files": [{"bytes": b"x", "path": ""}]}])
    with pytest.raises(EvaluationError, match=r"has no column 'options', 'answer', 'discipline', 'cross_lingual'"):
        BENCHMARKS.get("m4u").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_the_releases_parser_takes_each_sign_of_the_options_for_an_option(scores: Scores) -> None:
    # There is no option C for the list of two; for the release there is, since the text of the list is 24 signs long.
    found = scores("m4u", {"science/0": "(A), not (C)", "healthcare/1": "I choose A."})
    assert found["choice", "m4u-accuracy"].value == 0.75
    assert found["choice", "m4u-accuracy-release"].value == 0.5
    assert found["choice", "choice-accuracy"].n == 4
    assert found["choice", "chance"].value == pytest.approx((1 / 2 + 1 / 3) / 2)
