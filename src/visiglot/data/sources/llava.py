"""LLaVA's conversations (Liu et al., 2023, arXiv 2304.08485) and ShareGPT4V (Chen et al., 2023, arXiv 2311.12793)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.conversations import SPEAKERS, Conversation, Turn, check_marks, check_turns
from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows.numbered import NumberedRows
from visiglot.types import Example

LICENCE = "CC-BY-NC-4.0"

Count = Annotated[int, Field(ge=0)]


@adapter("llava", title="LLaVA conversations", licence=LICENCE, own_languages=True)
def llava(
    origin: Origin,
    *,
    path: Path,
    images: Path | None = None,
    split_turns: bool = False,
    max_sentences: Count | None = None,
) -> Reading:
    """One example for each conversation in LLaVA's format, of any author: state the licence where it isn't LLaVA's.

    The file is a list, or has a row a line (.jsonl). Rows have `image` (a path, a list of paths, or none),
    `conversations` (`from`: human, gpt or system; `value`), `id`, and perhaps `language`. `<image>` may stand anywhere
    in human turns, as often as there are pictures, or nowhere; then the pictures come first. A line break that sets
    `<image>` off from the words goes, since what stands there is the model's own. Ids repeat in LLaVA's files, so that
    an example's is "ID#POSITION".

    `images` is the folder of the pictures, by default the file's. `split_turns` makes an example of each question and
    its answer, as mBLIP does; `max_sentences` leaves out examples with more "." in an answer (mBLIP: 3).
    """
    return _reading(origin, path, images, split_turns, max_sentences)


@adapter("sharegpt4v", title="ShareGPT4V", licence=LICENCE, own_languages=True)
def sharegpt4v(
    origin: Origin,
    *,
    path: Path,
    images: Path | None = None,
    split_turns: bool = False,
    max_sentences: Count | None = None,
) -> Reading:
    """One example for each conversation of ShareGPT4V, `sharegpt4v_instruct_gpt4-vision_cap100k.json` and others.

    The format is that of `llava`, and so are the options. Paths of pictures begin with their data set
    ("coco/train2017/000000000009.jpg", "sam/images/sa_1.jpg"); `images` is the folder that holds `coco`, `sam`,
    `llava` and so on.
    """
    return _reading(origin, path, images, split_turns, max_sentences)


def _reading(origin: Origin, path: Path, images: Path | None, split_turns: bool, max_sentences: int | None) -> Reading:
    pictures = Pictures(images or path.parent)

    def examples(row: Row) -> Sequence[Example]:
        turns = [_turn(one) for one in row.rows("conversations")]
        check_turns(turns)
        refs = [pictures.ref(row, "image", name) for name in _names(row)]
        marks = sum(turn.marks for turn in turns)
        if marks:
            check_marks(row, "image", marks, len(refs))
        id = row.key if row.get("id") is None else f"{row.name('id')}#{row.key}"
        conversation = Conversation(id, turns, refs, row.language("language", default=origin.language))
        return conversation.examples(origin, split_turns=split_turns, max_sentences=max_sentences)

    return Reading(NumberedRows(JsonRows(path)), examples)


def _turn(row: Row) -> Turn:
    speaker = row.text("from")
    if speaker not in SPEAKERS:
        raise row.error("from", f"must be one of {', '.join(SPEAKERS)}, found {speaker!r}")
    return Turn(SPEAKERS[speaker], row.text("value"), row, "from")


def _names(row: Row) -> Sequence[str]:
    """Paths of a row's pictures; a list of them may also be called `images`."""
    value = row.get("image", "images")
    if value is None or value in ("", []):
        return ()
    return (value,) if isinstance(value, str) else row.texts("image", "images")
