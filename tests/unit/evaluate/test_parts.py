"""Scores of a benchmark's parts: what goes into parts.jsonl, and what a report makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import WORDS, row, toy_benchmark
from tests.unit.evaluate.test_report_numbers import cells, reported, write

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.parts import PARTS, PartScore, measure_parts, read_parts, scores_of_parts
from visiglot.evaluate.score import score_predictions
from visiglot.types import Prediction

KINDS = {"cat": "animal", "dog": "animal", "sun": "thing"}


@pytest.fixture
def parted(register: Callable[[Benchmark], Benchmark]) -> Benchmark:
    return register(replace(toy_benchmark(), facts=("kind",), parts=("kind",)))


def answers(**texts: str | None) -> dict[str, list[Prediction]]:
    """Right but for the things in `texts`, and for `texts["german"]` in German only."""
    table = {}
    for code, words in WORDS.items():
        own = {"dog": texts["german"]} if code == "deu_Latn" and "german" in texts else texts
        table[code] = [
            replace(row(id, own.get(id, name), name, language=code), facts={"kind": KINDS[id]})
            for id, name in words.items()
        ]
    return table


def by_part(folder: Path) -> dict[tuple[str, str], PartScore]:
    return {(one.part, one.language): one for one in read_parts(folder)}


def test_a_part_has_a_score_in_each_language_and_in_all_together(parted: Benchmark, tmp_path: Path) -> None:
    folder = write(tmp_path / "e", answers(german="Katze"))
    score_predictions(folder)
    found = by_part(folder)
    assert found["animal", "deu_Latn"].value == 0.5
    assert found["animal", "heb_Hebr"].value == 1.0
    assert (found["animal", ""].value, found["animal", ""].n) == (0.9, 10)
    assert found["animal", ""].low < 0.9 < found["animal", ""].high
    assert found["thing", ""].value == 1.0


def test_a_part_of_which_every_answer_failed_is_there_without_a_value(parted: Benchmark, tmp_path: Path) -> None:
    table = {**answers(), "deu_Latn": answers(sun=None)["deu_Latn"]}
    folder = write(tmp_path / "e", table)
    score_predictions(folder)
    found = by_part(folder)
    assert math.isnan(found["thing", "deu_Latn"].value)
    assert (found["thing", "deu_Latn"].n, found["thing", "deu_Latn"].missing) == (0, 1)
    assert (found["thing", ""].value, found["thing", ""].n, found["thing", ""].missing) == (1.0, 4, 1)


def test_parts_of_ranked_answers_are_scored_by_rank(parted: Benchmark, tmp_path: Path) -> None:
    ranked = [
        replace(one, prompt_set="english-likelihood", choices=("cat", "dog"), likelihoods=(-1.0, -2.0))
        for one in answers()["eng_Latn"][:2]
    ]
    (score,) = scores_of_parts(measure_parts(ranked))
    assert (score.metric, score.value, score.n) == ("likelihood-accuracy", 0.5, 2)


def test_the_report_has_a_row_for_each_part_and_a_column_for_each_model(parted: Benchmark, tmp_path: Path) -> None:
    one = write(tmp_path / "one", answers(german="Katze"), model="one")
    two = write(tmp_path / "two", answers(sun="moon"), model="two")
    html, markdown, values = reported(one, two, out=tmp_path)
    assert "exact by kind" in html
    assert cells(markdown, "exact by kind", "animal")[1:3] == ["5", "10"]
    first, second = cells(markdown, "exact by kind", "animal")[3:]
    assert first.startswith("90.0 % (")
    assert first.endswith("); German 50.0 %")
    assert second.startswith("100.0 %")
    assert cells(markdown, "exact by kind", "thing")[4].startswith("0.0 %")
    found = values["results"][0]["models"][0]["parts"]["kind"]
    assert found["animal"][""]["value"] == 0.9
    assert found["animal"]["deu_Latn"]["n"] == 2


def test_a_folder_without_parts_has_no_such_table(toy: Benchmark, tmp_path: Path) -> None:
    folder = write(tmp_path / "e", answers())
    _, markdown, values = reported(folder, out=tmp_path)
    assert "exact by kind" not in markdown
    assert values["results"][0]["models"][0]["parts"] == {}


def test_a_broken_file_of_parts_is_said_with_what_makes_it_anew(parted: Benchmark, tmp_path: Path) -> None:
    folder = write(tmp_path / "e", answers())
    score_predictions(folder)
    (folder / PARTS).write_text('{"part": "animal"}\n', encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"parts\.jsonl can't be read") as caught:
        read_parts(folder)
    assert "--only score" in (caught.value.hint or "")
