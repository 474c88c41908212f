"""M4U: exam questions of 64 disciplines with pictures, in English, Chinese and German (Wang et al., 2024).

The data set stores the options of a question as one text, the writing of a list. They are shown here as the list that
it is, while the release's scripts, run on the data as they are stored now, would list its characters; so both numbers
of the release's parser are scored (`visiglot.evaluate.metrics.m4u`) but its prompts to that effect aren't followed.
Questions of a field with the same number are taken for the same question in the three languages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from visiglot.benchmarks.packed import packed_rows, written_list
from visiglot.benchmarks.wording import asked_among, marks, words
from visiglot.data.rows import Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import Asked, Publication, PublishedData, lacking, open_published
from visiglot.types import Example

LANGUAGES = {"eng_Latn": "en", "deu_Latn": "de", "zho_Hans": "zh"}
FIELDS = ("science", "engineering", "healthcare")
COLUMNS = ("question", "options", "answer", "discipline", "cross_lingual")
REPO = "M4U-Benchmark/M4U"

PUBLICATION = Publication(
    home=f"https://huggingface.co/datasets/{REPO}",
    layout="data/<field>_<code>-*.parquet, <field> being science, engineering or healthcare",
    texts=tuple(f"data/{field}_*.parquet" for field in FIELDS),
    repo=REPO,
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "m4u", PUBLICATION)
    files = {language: _files(folder, code) for language, code in LANGUAGES.items()}
    files = {language: found for language, found in files.items() if found}
    if not files:
        raise lacking("m4u", folder, "file of a language that is known", PUBLICATION)
    every = [path for found in files.values() for path in found.values()]
    split = {"test": {language: next(iter(found.values())) for language, found in files.items()}}
    return PublishedData(revision, split, lambda asked: _examples(asked, files, every), PUBLICATION.home)


def _files(folder: Path, code: str) -> dict[str, Path]:
    """Name of a shard (its field, and its number behind the first) -> its file."""
    found = {}
    for field in FIELDS:
        for number, path in enumerate(sorted((folder / "data").glob(f"{field}_{code}-*.parquet"))):
            found[f"{field}.{number}" if number else field] = path
    return found


def _examples(wanted: Asked, files: Mapping[str, Mapping[str, Path]], every: Sequence[Path]) -> Iterator[Example]:
    said = words("m4u", wanted.prompt_set, wanted.language)
    for field, file in files[wanted.language].items():
        for row, images in packed_rows("M4U's pictures", file, every, COLUMNS, ("image_files",)):
            stored, options = _options(row)
            question, answer = row.text("question"), row.text("answer")
            if answer not in LETTERS[: len(options)]:
                raise row.error("answer", f"must be one of {', '.join(LETTERS[: len(options)])}, found {answer!r}")
            listed = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options))
            if max(marks(question + listed), default=0) > len(images):
                raise row.error("question", f"marks more pictures than the {len(images)} that the row has")
            yield Example(
                id=f"{field}/{row.where.offset}",
                messages=asked_among(said["ask"], {**said, "question": f"{question}\n{listed}"}, len(images)),
                language=wanted.language,
                images=images,
                references=(answer,),
                task="choice",
                group=f"{field}/{row.where.offset}",
                facts={
                    "published_options": stored,
                    "options": json.dumps(options, ensure_ascii=False),
                    "category": str(row.get("discipline") or field),
                    "cross_lingual": str(bool(row.get("cross_lingual"))).lower(),
                },
                choices=tuple(LETTERS[: len(options)]),
            )


def _options(row: Row) -> tuple[str, list[str]]:
    """As they are stored, and as a list."""
    stored, listed = row.need("options"), written_list(row, "options")
    if listed is None or not 1 < len(listed) <= len(LETTERS):
        raise row.error("options", f"must be a list of two options or more, or its writing, found {stored!r}")
    return str(stored), [str(option) for option in listed]


BENCHMARKS.add(
    "m4u",
    Benchmark(
        name="m4u",
        about="Exam questions of science, engineering and healthcare with pictures, in three languages.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"choice": ("m4u-accuracy", "m4u-accuracy-release", "choice-accuracy", "letter-failures", "chance")},
        settings=Settings(max_new_tokens=64),
        facts=("published_options", "options", "category", "cross_lingual"),
        licence="MIT",
        citation="Wang et al., M4U: Evaluating Multilingual Understanding and Reasoning for Large Multimodal Models, "
        "arXiv 2405.15638",
        translation="not stated in the data set; the same questions in three languages",
    ),
)
