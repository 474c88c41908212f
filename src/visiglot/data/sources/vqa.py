"""VQAv2 (Goyal et al., 2017, arXiv 1612.00837) and OK-VQA (Marino et al., 2019, arXiv 1906.00067)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.answers import most_given
from visiglot.data.file_names import FileName, picture_named
from visiglot.data.lookup import Lookup
from visiglot.data.rows import JsonRows, Row
from visiglot.types import Example

LICENCE = "CC-BY-4.0"
"""VQAv2: visualqa.org/terms.html. OK-VQA: `license` in its files (github.com/allenai/aokvqa/issues/10)."""

TRAIN = "COCO_train2014_{image_id:012d}.jpg"


@adapter("vqav2", title="VQAv2", licence=LICENCE)
def vqav2(
    origin: Origin, *, path: Path, images: Path, annotations: Path | None = None, file_name: FileName = TRAIN
) -> Reading:
    """One example for each question of `v2_OpenEnded_mscoco_*_questions.json`, with the answer that most gave.

    `annotations` is `v2_mscoco_*_annotations.json`, whose rows are found by `question_id`; the ten answers are the
    references. Without it, as for the test set, examples end with the question. `images` is the folder of the year's
    COCO pictures and `file_name` their names in it; validation needs "COCO_val2014_{image_id:012d}.jpg".
    """
    return _reading(origin, path, images, annotations, file_name, "answer")


@adapter("okvqa", title="OK-VQA", licence=LICENCE)
def okvqa(
    origin: Origin,
    *,
    path: Path,
    images: Path,
    annotations: Path | None = None,
    file_name: FileName = TRAIN,
    raw: bool = False,
) -> Reading:
    """One example for each question of `OpenEnded_mscoco_*_questions.json`, with the answer that most gave.

    `annotations` is `mscoco_*_annotations.json`, as for `vqav2`. Its answers are stemmed, so that most people agree;
    `raw` takes them as they were typed (`raw_answer`). Of answers that were given as often the first one counts.
    """
    return _reading(origin, path, images, annotations, file_name, "raw_answer" if raw else "answer")


def _reading(
    origin: Origin, path: Path, images: Path, annotations: Path | None, file_name: str, answer_field: str
) -> Reading:
    pictures = Pictures(images)
    answers = None
    if annotations is not None:
        rows = JsonRows(annotations, "annotations")
        answers = Lookup(rows, lambda row: row.name("question_id"), "question_id")

    def examples(row: Row) -> Sequence[Example]:
        id, question = row.name("question_id"), row.text("question")
        ref = picture_named(pictures, file_name, row)
        if answers is None:
            return [origin.question(id, (ref,), question, None)]
        found = answers.find(id)
        if found is None:
            raise row.error("question_id", f"is {id}, which has no annotation in {annotations}")
        _refuse_other_picture(row, found)
        given = _given(found, answer_field)
        return [origin.question(id, (ref,), question, _right(found, given), answers=given)]

    return Reading(JsonRows(path, "questions"), examples, reads=answers.rows.files if answers else ())


def _refuse_other_picture(question: Row, annotation: Row) -> None:
    said = annotation.get("image_id")
    if said is not None and annotation.name("image_id") != question.name("image_id"):
        raise annotation.error(
            "image_id",
            f"is {said}, but {question.where} asks about {question.get('image_id')}",
            hint="Take questions and annotations of the same version and split.",
        )


def _given(annotation: Row, name: str) -> list[str]:
    """What people answered, less empty answers."""
    given = [one.text(name) for one in annotation.rows("answers") if one.get(name) != ""]
    if not given:
        raise annotation.error("answers", "are all empty")
    return given


def _right(annotation: Row, given: Sequence[str]) -> str:
    """The answer that the file says most gave, else the one that they did."""
    if annotation.get("multiple_choice_answer") is not None:
        return annotation.text("multiple_choice_answer")
    return most_given(given)
