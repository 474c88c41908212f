"""Questions find their own answers: joins by question_id, the answer that most gave, splits without answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.data.source import Source, build_source, option_problems
from visiglot.errors import DataError


def written(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def opened(type_: str, **options: Any) -> Source:
    return build_source(type_, options, languages=["eng_Latn"], seed=0)


def vqa(folder: Path, annotations: list[dict[str, Any]] | None, type_: str = "vqav2", **options: Any) -> Source:
    """Two questions about pictures 1 and 2, with ids 10 and 20."""
    asked = [{"question_id": n * 10, "image_id": n, "question": f"Question {n}?"} for n in (1, 2)]
    options = {"path": written(folder / "questions.json", {"questions": asked}), "images": str(folder), **options}
    if annotations is not None:
        options["annotations"] = written(folder / "annotations.json", {"annotations": annotations})
    return opened(type_, **options)


def answers(*texts: str, **fields: Any) -> dict[str, Any]:
    return {"answers": [{"answer": text, "raw_answer": text.upper()} for text in texts], **fields}


def test_of_answers_given_as_often_the_first_counts(tmp_path: Path) -> None:
    rows = [answers("b", "a", "a", "b", question_id=10), answers("x", "y", "z", question_id=20)]
    source = vqa(tmp_path, rows, "okvqa")
    assert [example.facts["answer"] for example in map(source.__getitem__, range(2))] == ["b", "x"]
    assert source[0].references == ("b", "a", "a", "b")


def test_the_majority_that_the_annotation_names_counts_before_ours(tmp_path: Path) -> None:
    rows = [answers("b", "a", "a", question_id=10, multiple_choice_answer="b"), answers("x", question_id=20)]
    assert vqa(tmp_path, rows)[0].messages[-1].content == ("b",)


def test_empty_answers_are_no_references_and_nothing_but_those_is_an_error(tmp_path: Path) -> None:
    good = [answers("a", "", " ", "a", question_id=10), answers("x", question_id=20)]
    with pytest.raises(DataError, match=r"annotations.json, line 1, field `answers\[2\].answer`: is empty"):
        vqa(tmp_path, good)
    good[0]["answers"].pop(2)
    assert vqa(tmp_path, good)[0].references == ("a", "a")
    good[0]["answers"] = [{"answer": ""}]
    with pytest.raises(DataError, match=r"annotations.json, line 1, field `answers`: are all empty"):
        vqa(tmp_path, good)


def test_raw_answers_are_those_that_were_typed(tmp_path: Path) -> None:
    rows = [answers("a", "b", "a", question_id=10), answers("x", question_id=20)]
    assert vqa(tmp_path, rows, "okvqa", raw=True)[0].references == ("A", "B", "A")


def test_a_question_without_annotation_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"questions.json, line 1, row 2, field `question_id`: is 20, which has no annotation"
    ):
        vqa(tmp_path, [answers("a", question_id=10)])
    source = vqa(tmp_path, [answers("a", question_id=10)], on_bad="skip", max_bad=1.0)
    assert [source[n].id for n in range(len(source))] == ["10"]


def test_annotations_of_another_picture_are_refused(tmp_path: Path) -> None:
    rows = [answers("a", question_id=10, image_id=1), answers("b", question_id=20, image_id=3)]
    with pytest.raises(DataError, match=r"field `image_id`: is 3, but .*questions.json, line 1, row 2 asks about 2"):
        vqa(tmp_path, rows)


def test_without_annotations_examples_end_with_the_question(tmp_path: Path) -> None:
    example = vqa(tmp_path, None, file_name="test/COCO_test2015_{image_id:012d}.jpg")[1]
    assert [message.role for message in example.messages] == ["user"]
    assert example.facts == {"question": "Question 2?"}
    assert example.references == ()
    assert [ref.name for ref in example.images] == ["test/COCO_test2015_000000000002.jpg"]


def test_gqa_has_full_answers_and_questions_without_any(tmp_path: Path) -> None:
    row = {"imageId": "n1", "question": "Is it?", "answer": "yes", "fullAnswer": "Yes, it is."}
    path = written(tmp_path / "a.json", {"07": row, "08": row})
    full = opened("gqa", path=path, images=str(tmp_path), full_answer=True)
    assert full[1].id == "08"
    assert full[0].facts == {"question": "Is it?", "answer": "Yes, it is."}
    bare = {"imageId": "n1", "question": "Is it?", "isBalanced": False}
    path = written(tmp_path / "test.json", {"1": bare})
    assert len(opened("gqa", path=path, images=str(tmp_path), answered=False)[0].messages) == 1
    with pytest.raises(DataError, match=r"test.json, line 1, field `answer`: is missing"):
        opened("gqa", path=path, images=str(tmp_path))


def test_aokvqa_is_read_by_question_or_without_answers(tmp_path: Path) -> None:
    row: dict[str, Any] = {"split": "val", "image_id": 5, "question_id": "q", "question": "Why?", "choices": ["a", "b"]}
    answered = {**row, "correct_choice_idx": 1, "direct_answers": None}
    options = {"images": str(tmp_path), "file_name": "{split}2017/{image_id:012d}.jpg"}
    path = written(tmp_path / "val.json", [answered])
    example = opened("aokvqa", path=path, each="question", **options)[0]
    assert (example.id, example.references, example.images[0].name) == ("q", ("b",), "val2017/000000000005.jpg")
    assert example.facts == {"question": "Why?", "answer": "b", "choices": "a\nb"}
    with pytest.raises(DataError, match=r"val.json, line 1, field `rationales`: is missing"):
        opened("aokvqa", path=path, **options)
    test = opened("aokvqa", path=written(tmp_path / "test.json", [{**row, "split": "test"}]), **options)[0]
    assert (len(test.messages), test.id, test.facts) == (1, "q", {"question": "Why?", "choices": "a\nb"})


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a.jpg", "names the same file for every row"),
        ("{image_id.x}.jpg", "must be a field's name"),
        ("{image_id!r}.jpg", "must be a field's name"),
        ("{image_id:>9}.jpg", "must be a field's name"),
        ("{}.jpg", "must be a field's name"),
        ("{image_id.jpg", "is no pattern"),
    ],
)
def test_a_pattern_that_names_no_file_is_refused_before_anything_is_opened(pattern: str, said: str) -> None:
    problems = option_problems("vqav2", {"path": "q.json", "images": ".", "file_name": pattern})
    assert len(problems) == 1
    assert problems[0].startswith("options.file_name: ")
    assert said in problems[0]


def test_a_pattern_with_a_field_that_rows_lack_or_that_is_no_number_is_said_with_the_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"questions.json, line 1, field `split`: is missing"):
        vqa(tmp_path, None, file_name="{split}/{image_id}.jpg")
    with pytest.raises(DataError, match=r"field `question`: must be a whole number"):
        vqa(tmp_path, None, file_name="{question:03d}.jpg")
