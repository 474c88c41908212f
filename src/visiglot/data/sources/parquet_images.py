"""Parquet and Arrow files of `datasets` whose pictures lie in a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.rows import Row
from visiglot.data.rows.arrow import ArrowRows
from visiglot.data.rows.columns import Columns
from visiglot.data.rows.shards import files_of
from visiglot.types import Example, ImageRef


@adapter("parquet-images", title="Parquet or Arrow with a column of pictures", licence=None)
def parquet_images(
    origin: Origin,
    *,
    path: Path,
    image: str = "image",
    images: Path | None = None,
    caption: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    conversation: str | None = None,
    language_column: str | None = None,
    id: str | None = None,
) -> Reading:
    """Data sets of Hugging Face: pictures in a column of the type `Image` or a list of it, texts in others.

    `path` is a .parquet or .arrow file, a folder of them (also one of `save_to_disk`), or a pattern with "*". `image`,
    `caption` or `question` and `answer` or `conversation`, `language_column` and `id` name columns. A caption may be a
    list of captions, an answer a list of all that count as right; a conversation has messages of `role` and `content`,
    or of `from` and `value`. A picture's bytes are in its row, or its path is below `images`.
    """
    columns = Columns(caption, question, answer, conversation, language_column, id)
    folder = None if images is None else Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        number = f"{row.where.path.stem}:{row.where.offset}"
        return columns.examples(origin, row, _pictures(row, image, number, folder), number)

    files = files_of(path, ".parquet", ".arrow")
    return Reading(ArrowRows(files, tuple(dict.fromkeys((image, *columns.names))), image), examples)


def _pictures(row: Row, column: str, number: str, folder: Pictures | None) -> list[ImageRef]:
    """The pictures of a row; one that has no path is called by the row's number."""
    value = row.need(column)
    several = isinstance(value, list)
    return [
        _picture(row, f"{column}[{n}]" if several else column, one, f"{number}/{n}" if several else number, folder)
        for n, one in enumerate(value if several else [value])
    ]


def _picture(row: Row, name: str, value: Any, number: str, folder: Pictures | None) -> ImageRef:
    struct = value if isinstance(value, Mapping) else {"bytes": value} if isinstance(value, bytes) else {"path": value}
    data, path = struct.get("bytes"), struct.get("path")
    if path is not None and not isinstance(path, str):
        raise row.error(name, f"must be a picture's bytes or path, found {path!r}")
    if data is not None:
        return ImageRef(path or number, data=data)
    if not path:
        raise row.error(name, "is empty")
    if folder is None:
        raise row.error(name, f"is the path {path!r}, but the source has no option `images`")
    return folder.ref(row, name, path)
