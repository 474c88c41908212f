"""MTVQA as its data set publishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.drawn import draw
from tests.packed_data import write_parquet
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS


def test_each_pair_is_a_question_about_the_rows_picture(examples: Examples) -> None:
    rows = examples("mtvqa", "deu_Latn")
    assert set(rows) == {"11/0", "11/1", "13/0"}
    assert rows["11/1"].references == ("2.50",)
    assert rows["11/0"].images == rows["11/1"].images
    assert rows["13/0"].images[0].read() == draw("blue", "square")
    assert rows["11/0"].group == rows["11/1"].group != rows["13/0"].group


def test_korean_is_called_by_its_country(examples: Examples) -> None:
    assert examples("mtvqa", "kor_Hang")["12/0"].references == ("출구",)


def test_the_papers_prompt_is_centurios(examples: Examples) -> None:
    text = examples("mtvqa", "deu_Latn", "paper")["13/0"].messages[0].text
    assert text == "Welche Linie?\nAnswer the question using a single word or phrase.\nAnswer in German."


def test_pairs_that_are_no_list_are_said_with_their_place(root: Path) -> None:
    file = root / "mtvqa/data/test-00000-of-00002.parquet"
    picture = {"bytes": draw("red", "bar"), "path": ""}
    write_parquet(file, [{"image": picture, "qa_pairs": "[{'question': 'Was?'}]", "lang": "DE", "id": 1}])
    data = BENCHMARKS.get("mtvqa").open(root)
    with pytest.raises(EvaluationError) as caught:
        data.examples("deu_Latn", split="test", prompt_set="native", limit=None)
    assert caught.value.message == f"{file}, row 0, field `qa_pairs[0].answer`: is missing"


def test_an_answer_counts_inside_others_and_a_stop_in_gold_never(scores: Scores) -> None:
    found = scores("mtvqa", {"11/0": "Da steht BÄCKEREI HUBER.", "11/1": "2.50"}, "deu_Latn")
    assert found["vqa", "mtvqa-accuracy"].value == pytest.approx(2 / 3)
    assert found["vqa", "normalised-exact"].value == pytest.approx(2 / 3)
