"""A-OKVQA (Schwenk et al., 2022, arXiv 2206.01718)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.file_names import FileName, picture_named
from visiglot.data.rows import JsonRows, Row
from visiglot.types import Example

LICENCE = "CC-BY-4.0"
"""Stated by an author at github.com/allenai/aokvqa/issues/10."""

UNANSWERED = "test"
"""The split whose answers aren't public."""


@adapter("aokvqa", title="A-OKVQA", licence=LICENCE)
def aokvqa(
    origin: Origin,
    *,
    path: Path,
    images: Path,
    file_name: FileName = "{image_id:012d}.jpg",
    each: Literal["rationale", "question"] = "rationale",
) -> Reading:
    """One example for each rationale of `aokvqa_v1p0_*.json`, with question, right choice and rationale as facts.

    The file is a list of rows with `question_id`, `image_id`, `question`, `choices`, `correct_choice_idx`,
    `direct_answers` (the references) and, usually three, `rationales`. `each: question` makes one example of a row,
    without a rationale. The choices are a fact, a line each. Rows of the test split have no answers; each is one
    example that ends with the question. `images` is the folder of the split's COCO 2017 pictures; where it is the
    folder above, `file_name` is "{split}2017/{image_id:012d}.jpg".
    """
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        id, question = row.name("question_id"), row.text("question")
        refs = (picture_named(pictures, file_name, row),)
        choices = row.texts("choices")
        listed = "\n".join(choices)
        if row.get("split") == UNANSWERED:
            return [origin.question(id, refs, question, None, choices=listed)]
        answer = _right(row, choices)
        answers = row.texts("direct_answers") if row.get("direct_answers") else (answer,)
        if each == "question":
            return [origin.question(id, refs, question, answer, answers=answers, choices=listed)]
        return [
            origin.question(f"{id}/{n}", refs, question, answer, answers=answers, choices=listed, rationale=rationale)
            for n, rationale in enumerate(row.texts("rationales"))
        ]

    return Reading(JsonRows(path), examples)


def _right(row: Row, choices: Sequence[str]) -> str:
    number = row.integer("correct_choice_idx")
    if not 0 <= number < len(choices):
        raise row.error("correct_choice_idx", f"is {number}, but there are {len(choices)} choices, counted from 0")
    return choices[number]
