"""Centurio's task files (Geigle et al., 2025, arXiv 2501.05122): turns with pictures anywhere in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.conversations import MARK, Conversation, Turn, check_marks
from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows.numbered import NumberedRows
from visiglot.types import Example

PLACEHOLDER = "<image_placeholder>"


@adapter("centurio", title="Centurio's task files", licence=None)
def centurio(origin: Origin, *, path: Path, images: Path | None = None) -> Reading:
    """One example for each row of a list of `context`, `label` and `image_id`; `images` is the folder of pictures.

    `context` has the user's turns and `label` the answers; `image_id` is a name, a list of names, or "" where there is
    no picture. `<image_placeholder>` says where a picture stands; without one a single picture stands first. In test
    files the last label is "" and `text_label` has the gold answer, or a list of them: such examples end with the
    question. The file doesn't say its language: give it in `language`.
    """
    pictures = None if images is None else Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        names = _names(row)
        if names and pictures is None:
            raise row.error("image_id", f"is {names[0]}, but the source has no option `images`")
        refs = [pictures.ref(row, "image_id", name) for name in names if pictures is not None]
        asked, labels = row.texts("context"), row.need("label")
        if not isinstance(labels, list) or len(labels) != len(asked):
            count = len(labels) if isinstance(labels, list) else f"{labels!r}"
            raise row.error("label", f"must have an answer to each of {len(asked)} turns, found {count}")
        last = row.texts("label") if labels[-1] else ()
        golds = () if last else _golds(row)
        answers = last or tuple(str(text).strip() for text in labels[:-1])
        if not all(answers):
            raise row.error("label", "only the last answer may be empty, and only in a test file")
        turns = list(_turns(row, asked, answers))
        if len(refs) != 1 or any(turn.marks for turn in turns):
            check_marks(row, "image_id", sum(turn.marks for turn in turns), len(refs))
        example = Conversation(row.key, turns, refs, origin.language).examples(origin)[0]
        return [replace(example, references=golds or answers[-1:])]

    return Reading(NumberedRows(JsonRows(path)), examples)


def _turns(row: Row, asked: Sequence[str], answers: Sequence[str]) -> Iterator[Turn]:
    for number, text in enumerate(asked):
        yield Turn("user", text.replace(PLACEHOLDER, MARK), row, "context")
        if number < len(answers):
            yield Turn("assistant", answers[number], row, "label")


def _names(row: Row) -> tuple[str, ...]:
    value = row.get("image_id")
    if value in (None, "", []):
        return ()
    return row.texts("image_id") if isinstance(value, list) else (row.text("image_id"),)


def _golds(row: Row) -> tuple[str, ...]:
    return row.texts("text_label") if isinstance(row.get("text_label"), list) else (row.text("text_label"),)
