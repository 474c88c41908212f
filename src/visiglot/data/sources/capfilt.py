"""Captions that BLIP made and filtered (CapFilt; Li et al., 2022, arXiv 2201.12086)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.file_names import FileName, picture_named
from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows.numbered import NumberedRows
from visiglot.types import Example

BY_POSITION = "{number:08d}.jpg"


@adapter("capfilt", title="BLIP's CapFilt captions", licence="BSD-3-Clause")
def capfilt(origin: Origin, *, path: Path, images: Path, file_name: FileName | None = None) -> Reading:
    """One example for each row of `ccs_synthetic_filtered_large.json` and the like, whose pictures lie in `images`.

    The file is a list of rows with `caption` and `url`, or has a row a line (.jsonl). Nothing is downloaded. A row's
    picture is what its field `image` says, as in what `visiglot data filter` writes; else "{number:08d}.jpg", where
    {number} is the row's position in this file, from 0, as mBLIP's downloads are named. A `file_name` of yours may hold
    any field of a row ("{jpg}").
    """
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        pattern = file_name or ("{image}" if row.get("image") is not None else BY_POSITION)
        ref = picture_named(pictures, pattern, row, number=int(row.key))
        return [origin.caption(row.key, ref, row.text("caption"))]

    return Reading(NumberedRows(JsonRows(path)), examples)
