"""WIT, Wikipedia's pictures and their texts in over 100 languages (Srinivasan et al., 2021, arXiv 2103.01913)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.lookup import Lookup
from visiglot.data.rows import Row
from visiglot.data.rows.shards import ShardRows, files_of
from visiglot.data.rows.tables import TableRows
from visiglot.data.wiki_codes import wiki_language
from visiglot.types import Example

Caption = Literal["reference", "attribution", "alt_text"]


def file_name(image_url: str) -> str:
    """What a downloaded picture is called: 32 hexadecimal digits of its URL's SHA-256 and the URL's ending.

    `https://upload.wikimedia.org/a/b/Some_Hill.JPG` -> `a0c3….jpg`
    """
    ending = PurePosixPath(urlsplit(image_url).path).suffix.lower()
    return f"{hashlib.sha256(image_url.encode()).hexdigest()[:32]}{ending}"


@adapter("wit", title="WIT, Wikipedia image texts", licence="CC-BY-SA-3.0", own_languages=True)
def wit(
    origin: Origin, *, path: Path, images: Path, caption: Caption = "reference", files: Path | None = None
) -> Reading:
    """One example for each row of `wit_*.tsv.gz` that has the caption and whose picture was downloaded before.

    `path` is a file, also packed, a folder of them, or a pattern with "*". Packed files are unpacked into the cache.
    `caption` says which of the three caption columns is read. Pictures lie in `images` under the names that
    `visiglot.data.sources.wit.file_name` gives to their URLs; or `files` is a table of URL and path below `images`,
    with a tab between them and no header. Rows of languages that Visiglot's table doesn't have are left out.
    """
    pictures = Pictures(images)
    column = f"caption_{caption}_description"
    found = _listed(files) if files is not None else lambda url: _downloaded(images, url)

    def examples(row: Row) -> Sequence[Example]:
        if column not in row.values:
            raise row.error(column, f"is no column of the table, which has {', '.join(row.values)}")
        if row.get(column) is None:
            return ()
        code = wiki_language(row.text("language"))
        file = None if code is None else found(row.text("image_url"))
        if code is None or file is None:
            return ()
        ref = pictures.ref(row, "image_url", file)
        id = f"{row.where.path.name}:{row.where.offset}"
        return [origin.caption(id, ref, row.text(column), language=code)]

    rows = ShardRows([TableRows(one) for one in files_of(path, ".tsv", ".tsv.gz")])
    return Reading(rows, examples, reads=(images,) if files is None else (files,))


def _downloaded(images: Path, url: str) -> str | None:
    name = file_name(url)
    return name if (images / name).is_file() else None


def _listed(files: Path) -> Callable[[str], str | None]:
    paths = Lookup(TableRows(files, ("image_url", "path")), lambda row: row.text("image_url"), "URL of a picture")

    def find(url: str) -> str | None:
        row = paths.find(url)
        return None if row is None else row.text("path")

    return find
