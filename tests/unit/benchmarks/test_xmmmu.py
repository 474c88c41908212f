"""xMMMU as its data set publishes it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.drawn import draw
from tests.packed_data import write_parquet, xmmmu_rows
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.types import ImageSlot


def test_pictures_stand_where_the_question_and_its_options_mark_them(examples: Examples) -> None:
    row = examples("xmmmu")["validation_Math_2"]
    assert row.messages[0].content == (
        "en: which is ",
        ImageSlot(0),
        "?\nA. ",
        ImageSlot(1),
        "\nB. ",
        ImageSlot(2),
        "\nC. no one\nD. all\nAnswer with the letter of the right option only.",
    )
    assert [image.read() for image in row.images] == [draw(colour, "square") for colour in ("red", "green", "blue")]
    assert json.loads(row.facts["options"])[2] == "no one"


def test_the_papers_words_are_pangeas(examples: Examples) -> None:
    found = examples("xmmmu", "hin_Deva", "paper")
    assert found["validation_Art_1"].messages[0].content == (
        "hi ",
        ImageSlot(0),
        " shows what?\nA. a square\nB. a circle\nAnswer with the option letter from the given choices directly.",
    )
    open_ended = found["validation_Math_3"]
    assert open_ended.messages[0].content[-1] == "?\nAnswer the question using a single word or phrase."
    assert (open_ended.references, open_ended.choices) == (("6.4", "six"), ())


def test_pictures_may_be_text_in_base64(examples: Examples) -> None:
    english, hindi = examples("xmmmu"), examples("xmmmu", "hin_Deva")
    assert list(english) == list(hindi)
    assert all(english[id].images == hindi[id].images for id in english)


def test_a_cell_without_a_picture_may_be_an_empty_text(tmp_path: Path) -> None:
    rows = xmmmu_rows("fr", lambda colour: base64.b64encode(draw(colour, "bar")).decode())[:1]
    write_parquet(tmp_path / "xmmmu/data/fr-00000-of-00001.parquet", [rows[0] | {"image_2": "", "image_3": None}])
    data = BENCHMARKS.get("xmmmu").open(tmp_path)
    (row,) = data.examples("fra_Latn", split="test", prompt_set="native", limit=None)
    assert [image.read() for image in row.images] == [draw("red", "bar")]


def test_golden_score_of_questions_with_options_and_without(scores: Scores) -> None:
    # "B)" is a letter for our reader only; 6.40 equals 6.4 as a number.
    found = scores("xmmmu", {"validation_Math_2": "B)", "validation_Math_3": "So the side is 6.40 cm"})
    assert {metric: one.value for (_, metric), one in found.items()} == {
        "mmmu-accuracy": pytest.approx(2 / 3),
        "mmmu-accuracy-pangea": pytest.approx(2 / 3),
        "mmmu-accuracy-strict": 1.0,
        "mmmu-chance": pytest.approx((1 / 2 + 1 / 4 + 0) / 3),
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": "<image 4>?"}, "field `question`: marks more pictures than the 3 that the row has"),
        ({"answer": "E"}, "field `answer`: must be one of A, B, C, D, found 'E'"),
        ({"options": "A, B"}, "field `options`: must be a list of two options or more, or its writing, found 'A, B'"),
        ({"image_1": "no base64!"}, "field `image_1`: is no picture in base64"),
    ],
)
def test_a_bad_row_is_said_with_its_place(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    file = tmp_path / "xmmmu/data/fr-00000-of-00001.parquet"
    row = xmmmu_rows("fr", lambda colour: base64.b64encode(draw(colour, "bar")).decode())[1]
    write_parquet(file, [row | changes])
    with pytest.raises(EvaluationError) as caught:
        BENCHMARKS.get("xmmmu").open(tmp_path).examples("fra_Latn", split="test", prompt_set="native", limit=None)
    assert caught.value.message.startswith(f"{file}, row 0, {said}")
