"""Questions with options in the tables that Parrot published (Sun et al., 2025): MMMB and multilingual MMBench.

A row has an index, a question, maybe a hint, options A, B, ..., the letter of the right one, and a picture in base64,
or in its place the index of the row that has it. Rows whose indices differ by millions belong together: a question and
its counterpart in MMMB, the rotations of a question's options in MMBench.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from visiglot.benchmarks.wording import asked, words
from visiglot.data.index_files import index_folder
from visiglot.data.progress import Progress
from visiglot.data.rows import Row
from visiglot.data.rows.tables import TableRows
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    files_by_language,
    open_published,
)
from visiglot.types import Example, ImageRef

LANGUAGES = {
    "eng_Latn": "en", "arb_Arab": "ar", "por_Latn": "pt", "rus_Cyrl": "ru", "tur_Latn": "tr", "zho_Hans": "cn",
}  # fmt: skip
REPO = "AIDC-AI/Parrot-dataset"
CIRCLE = 1_000_000
"""Indices that are equal modulo this belong together."""

FACTS = ("index", "index_rows", "options", "category")
"""What metrics need of a question: its index, how many rows of the table belong together with it, the texts of its
options as a JSON list ("" where a letter has none), and its category."""

LONGEST_INDEX = 64
"""Characters; a longer text in the place of a picture is base64."""

FORMAT = 1
"""Raised when the files of an unpacked table mean something else than before."""

_HAN = re.compile("[\u4e00-\u9fff]")


def publication(below: str, file: str) -> Publication:
    """Of the tables in one folder of the repository; `file` has {code}."""
    return Publication(
        home=f"https://huggingface.co/datasets/{REPO} (folder {below})",
        layout=f"{file.format(code='<code>')}, <code> being one of {', '.join(LANGUAGES.values())}",
        texts=(file.format(code="*"),),
        repo=REPO,
        below=below,
    )


def open_tables(benchmark: str, file: str, split: str, folder: Path | None) -> PublishedData:
    """The tables, with their pictures unpacked into the cache at the first example.

    Args:
        file: its name, with {code}.
    """
    published = publication(benchmark, file)
    folder, revision = open_published(folder, benchmark, published)
    files = files_by_language(folder, [file], LANGUAGES)
    read = partial(_examples, files)
    return PublishedData(revision, {split: files}, read, published.home, unit=lambda example: example.group)


def _examples(files: Mapping[str, Path], wanted: Asked) -> Iterator[Example]:
    unpacked = _unpacked(files)
    names: Mapping[str, str] = json.loads((unpacked / f"{wanted.language}.json").read_text(encoding="utf-8"))
    together = Counter(int(index) % CIRCLE for index in names)
    for row in all_rows(TableRows(wanted.file)):
        options = {letter: str(row.get(letter)) for letter in string.ascii_uppercase if row.get(letter) is not None}
        if len(options) < 2:
            raise row.error("A", f"must be the first of two options or more, found {len(options)}")
        answer = row.text("answer")
        if answer not in options:
            raise row.error("answer", f"must be one of {', '.join(options)}, found {answer!r}")
        index = row.integer("index")
        name = names[str(index)]
        asking = question_with_options(row, options)
        language = paper_language(wanted.language, asking) if wanted.prompt_set == "paper" else wanted.language
        said = words("parrot", wanted.prompt_set, language)
        yield Example(
            id=str(index),
            messages=asked(said["ask"], {**said, "question": asking}),
            language=wanted.language,
            images=(ImageRef(name, path=unpacked / name),),
            references=(answer,),
            task="choice",
            group=str(index % CIRCLE),
            facts={
                "index": str(index),
                "index_rows": str(together[index % CIRCLE]),
                "options": json.dumps(_texts(options), ensure_ascii=False),
                "category": str(row.get("category") or ""),
                "question": str(row.need("question")),
                "hint": str(row.get("hint") or ""),
            },
            choices=tuple(options),
        )


def _texts(options: Mapping[str, str]) -> list[str]:
    last = string.ascii_uppercase.index(max(options))
    return [options.get(letter, "") for letter in string.ascii_uppercase[: last + 1]]


def question_with_options(row: Row, options: Mapping[str, str]) -> str:
    """Hint, question and options, each in its line or lines."""
    hint = [str(row.get("hint"))] if row.get("hint") is not None else []
    return "\n".join([*hint, str(row.need("question")), *(f"{letter}. {text}" for letter, text in options.items())])


def paper_language(language: str, text: str) -> str:
    """In whose words Parrot asks: in Chinese where there is a Chinese character in the question, whatever its language.

    A Chinese question without one is asked in English: files are called "cn", and the code looks for "zh". The names of
    several tables together, with which all but Chinese are asked in English, are not followed: an answer doesn't depend
    on what else is run.
    """
    if _HAN.search(text):
        return "zho_Hans"
    return "eng_Latn" if language == "zho_Hans" else language


def _unpacked(files: Mapping[str, Path]) -> Path:
    """The folder of the tables' pictures, each once and called by the hash of its bytes; with `<language>.json`."""
    return index_folder(
        f"the pictures of {next(iter(files.values())).parent}",
        tuple(files.values()),
        {"choice tables": FORMAT, "languages": list(files)},
        partial(_unpack, files),
    )


def _unpack(files: Mapping[str, Path], folder: Path) -> None:
    progress = Progress("unpacking pictures", "rows")
    for language, file in files.items():
        names: dict[str, str] = {}
        elsewhere: list[tuple[str, str, Row]] = []
        for row in all_rows(TableRows(file)):
            progress.advance()
            index, value = str(row.integer("index")), row.text("image")
            if index in names:
                raise row.error("index", f"is {index}, which an earlier row has")
            if len(value) <= LONGEST_INDEX and value.isdecimal():
                elsewhere.append((index, str(int(value)), Row({}, row.where)))
                continue
            data = _decoded(row, value)
            names[index] = hashlib.sha256(data).hexdigest()
            path = folder / names[index]
            if not path.exists():
                path.write_bytes(data)
        for index, other, row in elsewhere:
            if other not in names:
                raise row.error("image", f"is the index {other}, and no row of that index has a picture")
            names[index] = names[other]
        (folder / f"{language}.json").write_text(json.dumps(names), encoding="utf-8")
    progress.done()


def _decoded(row: Row, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise row.error("image", f"is neither base64 nor the index of another row: {error}") from error
