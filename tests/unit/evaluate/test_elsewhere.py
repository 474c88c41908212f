"""Files of answers in other programs' forms (`tests/contracts/test_answer_forms.py` has a row of each), matched to a
benchmark's examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.test_answer_forms import ANSWERS, ROWS, lines
from tests.unit.evaluate.conftest import PICTURES, ToyData, row, toy_benchmark

from visiglot.errors import DataError, EvaluationError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.elsewhere import FORMS, Given, Taken, Wanted, add_taken, form_of, match, read_taken
from visiglot.evaluate.elsewhere.opened import KINDS, rows_of
from visiglot.evaluate.predictions import prediction_path, read_scores, write_predictions
from visiglot.evaluate.score import score_predictions
from visiglot.types import Example


def read(path: Path) -> list[Given]:
    rows = list(rows_of(path))
    _, form = form_of(rows[0])
    assert form.read is not None
    return [form.read(one) for one in rows]


def wanted(benchmark: Benchmark, **changes: Any) -> Wanted:
    usual = Wanted(benchmark, benchmark.open(None), "deu_Latn", "test", None, None, "theirs")
    return replace(usual, **changes)


def given(id: str, text: str = "x", **changes: Any) -> Given:
    return replace(Given("file, line 1", text, {"question_id": id}), **changes)


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"visiglot"}))
def test_answers_of_every_form_come_to_their_examples(toy: Benchmark, name: str, tmp_path: Path) -> None:
    rows = [ROWS[name](id, text) for id, text in reversed(ANSWERS.items())]
    (tmp_path / "list.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "lines.jsonl").write_text(lines(rows), encoding="utf-8")
    (tmp_path / "lines.json").write_text(lines(rows), encoding="utf-8")
    for file in ("list.json", "lines.jsonl", "lines.json"):
        found = match(read(tmp_path / file), wanted(toy))
        assert {one.id: one.text for one in found} == ANSWERS
        assert [one.id for one in found] == list(ANSWERS)
        assert {one.prompt_set for one in found} == {"theirs"}
        assert found[1].references == ("Hund",)
        assert {one.model for one in found} <= {"theirs", "llava-7b"}


def test_a_table_with_tabs_has_empty_answers_and_says_failures(toy: Benchmark, tmp_path: Path) -> None:
    text = "index\tquestion\tprediction\ncat\t?\tKatze\ndog\t?\t\nsun\t?\tFailed to obtain answer via API.\n"
    (tmp_path / "model_TOY.tsv").write_text(text, encoding="utf-8")
    found = match(read(tmp_path / "model_TOY.tsv"), wanted(toy))
    assert [one.text for one in found] == ["Katze", "", None]
    assert found[2].error == "Failed to obtain answer via API."


def test_a_workbook_needs_openpyxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_TOY.xlsx").write_bytes(b"no workbook")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(EvaluationError, match="openpyxl isn't installed") as told:
        list(rows_of(tmp_path / "model_TOY.xlsx"))
    assert "PRED_FORMAT=tsv" in str(told.value)


def test_files_of_other_kinds_and_forms_are_refused_with_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"\.jsonl, \.ndjson, \.json, \.tsv, \.xlsx, not \.csv"):
        rows_of(tmp_path / "x.csv")
    assert set(KINDS) == {".jsonl", ".ndjson", ".json", ".tsv", ".xlsx"}
    (tmp_path / "x.jsonl").write_text('{"id": 1, "said": "x"}\n', encoding="utf-8")
    (found,) = rows_of(tmp_path / "x.jsonl")
    with pytest.raises(EvaluationError, match=r"the fields are id, said") as told:
        form_of(found)
    assert all(name in str(told.value) for name in FORMS.names())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_id": 3, "caption": None}, "`caption`: is missing"),
        ({"image_id": 3, "caption": 7}, "`caption`: must be a text"),
        ({"image_id": [], "caption": "x"}, "`image_id`: must be a text"),
        ({"doc_id": 0, "filtered_resps": [["1.5", "x"]], "target": ""}, "`filtered_resps`: must be one text"),
        ({"doc_id": 0, "filtered_resps": [[1.5, True]], "target": ""}, "`filtered_resps`: must be one text"),
    ],
)
def test_a_row_that_is_broken_is_said_with_its_place(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(lines([values]), encoding="utf-8")
    with pytest.raises(DataError, match=said) as told:
        read(tmp_path / "x.jsonl")
    assert "x.jsonl, line 1" in str(told.value)


# --- matching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (("cat", "dog"), "1 of 3 questions have no answer: 'sun'"),
        (("cat", "dog", "sun", "cat"), "1 of 3 questions have several answers: 'cat'"),
        (("cat", "dog", "moon", "star"), "2 of 4 answers are of no question; their `question_id` is 'moon', 'star'"),
    ],
)
def test_what_is_missing_unknown_or_twice_is_counted(toy: Benchmark, ids: tuple[str, ...], said: str) -> None:
    with pytest.raises(EvaluationError, match=said) as told:
        match([given(id) for id in ids], wanted(toy))
    assert "toy, split test, deu_Latn" in str(told.value)


def test_the_first_so_many_are_enough_with_a_limit(toy: Benchmark) -> None:
    assert [one.id for one in match([given("dog"), given("cat")], wanted(toy, limit=2))] == ["cat", "dog"]


def test_the_field_whose_ids_are_known_is_taken(toy: Benchmark) -> None:
    answers = [given(id, ids={"question_id": str(n), "image_id": id}) for n, id in enumerate(ANSWERS)]
    assert len(match(answers, wanted(toy))) == 3


class Nested(ToyData):
    """Ids with a part before them, two of them the same behind it; pictures have names with endings."""

    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> list[Example]:
        found = super().examples(language, split=split, prompt_set=prompt_set, limit=limit)
        ids = ("a/1", "b/1", "b/2")
        images = [replace(picture, name=f"val/{name}.png") for name, picture in PICTURES.items()]
        return [replace(one, id=id, images=(image,)) for one, id, image in zip(found, ids, images)]


def test_an_example_is_also_called_by_what_tells_it_from_all_others() -> None:
    benchmark = toy_benchmark(data=Nested())
    for names in (("a/1", "b/1", "2"), ("cat.png", "dog", "b/2")):
        assert [one.id for one in match([given(name) for name in names], wanted(benchmark))] == ["a/1", "b/1", "b/2"]
    with pytest.raises(EvaluationError, match="1 of 3 answers are of no question; their `question_id` is '1'"):
        match([given("1"), given("dog"), given("2")], wanted(benchmark))


def test_answers_with_a_place_alone_must_have_the_benchmarks_right_answers(toy: Benchmark) -> None:
    def placed(targets: Sequence[str]) -> list[Given]:
        return [given("", ids={}, place=place, targets=(target,)) for place, target in enumerate(targets)]

    found = match(placed(["katze", "Hund ", "Sonne"])[::-1], wanted(toy))
    assert [one.id for one in found] == list(ANSWERS)
    with pytest.raises(EvaluationError, match="2 of 3 answers can't be of the question at their place"):
        match(placed(["Katze", "Sonne", "Hund"]), wanted(toy))
    with pytest.raises(EvaluationError, match="1 of 4 answers can't be"):
        match(placed(["Katze", "Hund", "Sonne", "Mond"]), wanted(toy))


def test_a_prompt_set_is_theirs_unless_the_user_says_which(toy: Benchmark) -> None:
    answers = [given(id, prompt="Was?") for id in ANSWERS]
    assert {one.prompt_set for one in match(answers, wanted(toy, prompt_set="english"))} == {"english"}
    assert {(one.prompt_set, one.prompt) for one in match(answers, wanted(toy))} == {("theirs", "Was?")}


# --- the account and the mark ----------------------------------------------------------------------------------------


def test_a_score_says_whether_anything_may_be_lacking(toy: Benchmark, out: Path) -> None:
    rows = [row(id, text, language="deu_Latn") for id, text in ANSWERS.items()]
    path = prediction_path(out, "toy", "english", "deu_Latn")
    write_predictions(rows, path)

    def unchecked() -> set[bool]:
        score_predictions(out)
        return {score.unchecked for score in read_scores(out / "scores.jsonl")}

    assert unchecked() == {True}
    add_taken(out, {path.name: Taken("theirs.jsonl", "visiglot", 3)})
    assert unchecked() == {True}
    add_taken(out, {path.name: Taken("theirs.jsonl", "visiglot", 3, revision="toy-1")})
    assert unchecked() == {False}
    write_predictions(rows[:2], path)
    assert unchecked() == {True}


def test_the_account_keeps_what_was_taken_in_before(out: Path) -> None:
    assert read_taken(out) == {}
    out.mkdir()
    first, second = Taken("a.json", "coco", 2, "r"), Taken("b.json", "vqa", 3)
    add_taken(out, {"a": first})
    add_taken(out, {"b": second})
    assert read_taken(out) == {"a": first, "b": second}
    (out / "elsewhere.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"elsewhere\.json can't be read"):
        read_taken(out)
