"""IGLUE's WIT: pictures of Wikipedia and the captions below them, in eleven languages (Bugliarello et al., 2022).

A file has a caption a line and says which picture it belongs to (`wit_ix`). A picture may have several captions in a
language. Languages differ in their numbers of pictures, and share some of them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from visiglot.benchmarks.pairs import METRICS, by_picture, examples_of
from visiglot.data.index_files import index_folder
from visiglot.data.progress import Progress
from visiglot.data.rows import JsonRows
from visiglot.data.rows.tables import TableRows
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    files_by_language,
    lacking,
    open_published,
)
from visiglot.types import Example, ImageRef

LANGUAGES = {
    "eng_Latn": "en", "arb_Arab": "ar", "bul_Cyrl": "bg", "dan_Latn": "da", "ell_Grek": "el", "est_Latn": "et",
    "ind_Latn": "id", "jpn_Jpan": "ja", "kor_Hang": "ko", "tur_Latn": "tr", "vie_Latn": "vi",
}  # fmt: skip
FOLDER = "images"
TABLE = f"{FOLDER}/chosen_langs.tsv"
"""IGLUE's table: the picture of row N, from 0, is "wit-test_N"."""
FORMAT = 1
"""Raised when what is unpacked of the table means something else than before."""

PUBLICATION = Publication(
    home="https://github.com/e-bug/iglue (datasets/wit) and, for the pictures, the link in its datasets/README.md",
    layout=f"annotations/test_<code>.jsonl, and {TABLE} with the column base64_image, or {FOLDER}/<wit_ix>.<jpg, png, "
    "...>",
    texts=("annotations/test_*.jsonl",),
    pictures=(FOLDER,),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "iglue-wit", PUBLICATION)
    if not (folder / FOLDER).is_dir():
        raise lacking("iglue-wit", folder, f"folder {FOLDER}", PUBLICATION)
    files = {"test": files_by_language(folder, ["annotations/test_{code}.jsonl"], LANGUAGES)}
    read = partial(_examples, folder)
    return PublishedData(revision, files, read, PUBLICATION.home, unit=by_picture)


def _examples(folder: Path, wanted: Asked) -> Iterator[Example]:
    paths = _unpacked(folder / TABLE) if (folder / TABLE).is_file() else _files(folder / FOLDER)
    pairs = []
    for row in all_rows(JsonRows(wanted.file)):
        name = row.name("wit_ix")
        path = paths.get(name, folder / FOLDER / name)
        pairs.append((ImageRef(name, path=path), row.text("caption_reference_description").strip()))
    return examples_of(pairs, wanted.language)


def _files(folder: Path) -> Mapping[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file()}


def _unpacked(table: Path) -> Mapping[str, Path]:
    """Name -> file in the cache, of each picture of the table."""
    folder = index_folder(f"the pictures of {table}", (table,), {"wit": FORMAT}, partial(_unpack, table))
    names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    return {name: folder / name for name in names}


def _unpack(table: Path, folder: Path) -> None:
    progress = Progress("unpacking pictures", "rows")
    names = []
    for number, row in enumerate(all_rows(TableRows(table))):
        progress.advance()
        try:
            data = base64.b64decode(row.text("base64_image"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise row.error("base64_image", f"is no picture in base64: {error}") from error
        names.append(f"wit-test_{number}")
        (folder / names[-1]).write_bytes(data)
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    progress.done()


BENCHMARKS.add(
    "iglue-wit",
    Benchmark(
        name="iglue-wit",
        about="Find the picture of Wikipedia that a caption belongs to, and the caption of a picture.",
        load=load,
        splits=("test",),
        prompt_sets=("captions",),
        metrics=METRICS,
        facts=("candidates",),
        embeds=True,
        licence="CC-BY-SA-3.0 (texts)",
        citation="Bugliarello et al., IGLUE, ICML 2022, arXiv 2201.11732; Srinivasan et al., WIT, SIGIR 2021, "
        "arXiv 2103.01913",
        translation="none: captions as Wikipedia's writers wrote them",
    ),
)
