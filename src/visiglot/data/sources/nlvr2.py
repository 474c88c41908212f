"""NLVR2, statements about two photographs (Suhr et al., 2019, arXiv 1811.00491)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.rows import JsonRows, Row
from visiglot.types import Example

ANSWERS = {"true": "yes", "false": "no"}


@adapter("nlvr2", title="NLVR2", licence="CC-BY-4.0")
def nlvr2(origin: Origin, *, path: Path, images: Path) -> Reading:
    """One example of two pictures for each row of `train.json`, `dev.json` or `test1.json`, which are lines of JSON.

    `images` holds `train-10171-0-img0.png` and `-img1.png`; of rows with a `directory`, in a folder of that name. Of
    the `identifier` (`train-10171-0-0`) the last number counts statements about one pair. The licence is that of the
    statements and labels; the pictures have their owners'.
    """
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        identifier, label = row.text("identifier"), str(row.need("label")).lower()
        if label not in ANSWERS:
            raise row.error("label", f"must be True or False, found {row.get('label')!r}")
        pair, _, number = identifier.rpartition("-")
        if not pair or not number.isdecimal():
            raise row.error("identifier", f"must be split-set-pair-sentence, found {identifier!r}")
        folder = f"{row.name('directory')}/" if row.get("directory") is not None else ""
        refs = [pictures.ref(row, "identifier", f"{folder}{pair}-img{n}.png") for n in (0, 1)]
        statement = row.text("sentence")
        question = f"{statement} Is this true of the two pictures?"
        return [
            origin.question(identifier, refs, question, ANSWERS[label], task="nlvr2", statement=statement, label=label)
        ]

    return Reading(JsonRows(path, lines=True), examples)
