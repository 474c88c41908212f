"""Tar shards of WebDataset, whose pictures lie beside their texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiglot.data.adapter import Origin, Reading, adapter
from visiglot.data.rows import Row
from visiglot.data.rows.columns import Columns
from visiglot.data.rows.shards import ShardRows, files_of
from visiglot.data.rows.tars import TarRows
from visiglot.types import Example, ImageRef

IN_A_ROW = "The members of a sample must follow one another in the shard: 000.jpg, 000.txt, then 001.jpg, 001.txt."


@adapter("webdataset", title="WebDataset's tar shards", licence=None)
def webdataset(
    origin: Origin,
    *,
    path: Path,
    caption: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    conversation: str | None = None,
    language_column: str | None = None,
    id: str | None = None,
) -> Reading:
    """Shards of WebDataset and img2dataset: runs of members `000.jpg`, `000.txt`, `000.json` of one name.

    `path` is a .tar file, a folder of them, a pattern with "*", or one with numbers, "train-{000..127}.tar". The
    caption is the .txt member, unless options name other texts: "txt", or fields of the .json member. Samples without a
    picture are left out. Shards must not be packed; members that are pickles are refused.
    """
    if not (caption or question or conversation):
        caption = "txt"
    columns = Columns(caption, question, answer, conversation, language_column, id)

    def examples(row: Row) -> Sequence[Example]:
        endings = row.need("images")
        refs = [ImageRef(f"{row.key}.{ending}", data=row.values[ending]) for ending in endings]
        if not refs:
            return ()
        for name in columns.names:
            if row.get(name) is None:
                raise row.error(name, "is missing", hint=IN_A_ROW)
        return columns.examples(origin, row, refs, f"{row.where.path.stem}/{row.key}")

    return Reading(ShardRows([TarRows(one) for one in files_of(path, ".tar")]), examples)
