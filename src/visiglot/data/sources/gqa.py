"""GQA (Hudson and Manning, 2019, arXiv 1902.09506)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.rows import JsonRows, Row
from visiglot.types import Example


@adapter("gqa", title="GQA", licence=None)
def gqa(origin: Origin, *, path: Path, images: Path, full_answer: bool = False, answered: bool = True) -> Reading:
    """One example for each question of `train_balanced_questions.json`, `testdev_balanced_questions.json` and the like.

    The file is an object from question ids to rows with `imageId`, `question`, `answer` (a word or two) and
    `fullAnswer` (a sentence), which `full_answer` takes instead. `answered: false` reads the files without answers
    (test, challenge, submission), whose examples end with the question. `images` is the folder of pictures, `images`
    of the release.
    """
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        ref = pictures.ref(row, "imageId", f"{row.name('imageId')}.jpg")
        answer = row.text("fullAnswer" if full_answer else "answer") if answered else None
        return [origin.question(row.key, (ref,), row.text("question"), answer)]

    return Reading(JsonRows(path), examples)
