"""xMMMU: questions of MMMU's validation set in six more languages (Yue et al., 2024: Pangea; MMMU: Yue et al., 2023).

Pictures stand where a question or its options mark them, numbered from 1 without a gap. Some questions have no options;
their answer is a number or a few words. Questions keep MMMU's ids in all languages; English has all 900.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from visiglot.benchmarks.packed import packed_rows, written_list
from visiglot.benchmarks.wording import asked_among, marks, words
from visiglot.data.rows import Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import Asked, Publication, PublishedData, lacking, open_published
from visiglot.types import Example

NAMES = {
    "eng_Latn": ("en", "English"), "arb_Arab": ("ar", "Arabic"), "fra_Latn": ("fr", "French"),
    "hin_Deva": ("hi", "Hindi"), "ind_Latn": ("id", "Indonesian"), "jpn_Jpan": ("ja", "Japanese"),
    "por_Latn": ("pt", "Portuguese"),
}  # fmt: skip
"""FLORES code -> the names that files have for the language."""
PATTERNS = ("data/{code}-*.parquet", "data/translated_MMMU_val_300_with_image_{name}.parquet")
ENGLISH_FILE = "data/validation-00000-of-00001.parquet"
"""English's, in a commit that calls it so."""
COLUMNS = ("id", "question", "options", "answer", "question_type", "subfield")
PICTURES = tuple(f"image_{n}" for n in range(1, 8))
CHOICE = "multiple-choice"
REPO = "neulab/PangeaBench-xmmmu"

PUBLICATION = Publication(
    home=f"https://huggingface.co/datasets/{REPO}",
    layout="data/<code>-*.parquet or data/translated_MMMU_val_300_with_image_<Language>.parquet, with the columns "
    f"{', '.join(COLUMNS)}, image_1 ... image_7",
    texts=("data/*.parquet",),
    repo=REPO,
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "xmmmu", PUBLICATION)
    files = {code: found for code, names in NAMES.items() if (found := _files(folder, *names))}
    if not files:
        raise lacking("xmmmu", folder, "file of a language that is known", PUBLICATION)
    split = {"test": {code: found[0] for code, found in files.items()}}
    every = [path for found in files.values() for path in found]
    return PublishedData(
        revision, split, lambda asked: _examples(asked, files[asked.language], every), PUBLICATION.home
    )


def _files(folder: Path, code: str, name: str) -> list[Path]:
    """The language's shards; one way of calling them counts, the first that is there."""
    patterns = [pattern.format(code=code, name=name) for pattern in PATTERNS]
    patterns += [ENGLISH_FILE] if code == "en" else []
    return next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])


def _examples(wanted: Asked, files: list[Path], every: list[Path]) -> Iterator[Example]:
    said = words("xmmmu", wanted.prompt_set, wanted.language)
    for file in files:
        for row, images in packed_rows("xMMMU's pictures", file, every, COLUMNS, PICTURES):
            options = _options(row)
            question = row.text("question")
            listed = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options))
            if max(marks(question + listed), default=0) > len(images):
                raise row.error("question", f"marks more pictures than the {len(images)} that the row has")
            values: Mapping[str, str] = {**said, "question": question, "options": listed}
            id = row.name("id")
            yield Example(
                id=id,
                messages=asked_among(said["ask" if options else "open"], values, len(images)),
                language=wanted.language,
                images=images,
                references=_references(row, options),
                task="exam",
                group=id,
                facts={
                    "options": json.dumps(options, ensure_ascii=False),
                    "question_type": "choice" if options else "open",
                    "category": str(row.get("subfield") or ""),
                },
                choices=tuple(LETTERS[: len(options)]),
            )


def _options(row: Row) -> list[str]:
    """None of a question that asks for words."""
    if row.text("question_type") != CHOICE:
        return []
    listed = written_list(row, "options")
    if listed is None or not 1 < len(listed) <= len(LETTERS):
        raise row.error(
            "options", f"must be a list of two options or more, or its writing, found {row.get('options')!r}"
        )
    return [str(option) for option in listed]


def _references(row: Row, options: list[str]) -> tuple[str, ...]:
    """The right letter, or the answers that count as right: MMMU writes several as the text of a list."""
    answer = row.name("answer")
    if options:
        if answer not in LETTERS[: len(options)]:
            raise row.error("answer", f"must be one of {', '.join(LETTERS[: len(options)])}, found {answer!r}")
        return (answer,)
    several = written_list(row, "answer") if answer.startswith("[") else None
    return tuple(map(str, several)) if several else (answer,)


BENCHMARKS.add(
    "xmmmu",
    Benchmark(
        name="xmmmu",
        about="College exam questions of thirty subjects with pictures, in seven languages.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"exam": ("mmmu-accuracy", "mmmu-accuracy-pangea", "mmmu-accuracy-strict", "mmmu-chance")},
        settings=Settings(max_new_tokens=64),
        facts=("options", "question_type", "category"),
        parts=("question_type",),
        licence="MIT",
        citation="Yue et al., Pangea: A Fully Open Multilingual Multimodal LLM for 39 Languages, arXiv 2410.16153; "
        "Yue et al., MMMU, CVPR 2024, arXiv 2311.16502",
        translation="not stated in the data set; up to 300 validation questions in each of six languages, from English",
    ),
)
