"""MTVQA: questions about text in pictures, in nine languages, asked by their speakers (Tang et al., 2024).

The pictures show text in the language of the question. Languages share no pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from visiglot.benchmarks.packed import packed_rows, written_list
from visiglot.benchmarks.wording import asked, words
from visiglot.data.rows import Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import Asked, Publication, PublishedData, open_published
from visiglot.types import Example

LANGUAGES = {
    "arb_Arab": "AR", "deu_Latn": "DE", "fra_Latn": "FR", "ita_Latn": "IT", "jpn_Jpan": "JA", "kor_Hang": "KR",
    "rus_Cyrl": "RU", "tha_Thai": "TH", "vie_Latn": "VI",
}  # fmt: skip
"""FLORES code -> the column `lang`, in whatever case; Korean may be KO too."""
ALSO = {"KO": "KR"}
REPO = "ByteDance/MTVQA"

PUBLICATION = Publication(
    home=f"https://huggingface.co/datasets/{REPO}",
    layout="data/test-*.parquet, with the columns image, id, lang and qa_pairs",
    texts=("data/test-*.parquet",),
    repo=REPO,
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "mtvqa", PUBLICATION)
    files = sorted(folder.glob(PUBLICATION.texts[0]))
    split = {"test": dict.fromkeys(LANGUAGES, files[0])}
    return PublishedData(revision, split, lambda asked: _examples(asked, files), PUBLICATION.home)


def _examples(wanted: Asked, files: Sequence[Path]) -> Iterator[Example]:
    said = words("mtvqa", wanted.prompt_set, wanted.language)
    for file in files:
        for row, images in packed_rows("MTVQA's pictures", file, files, ("id", "lang", "qa_pairs"), ("image",)):
            code = row.text("lang").upper()
            if ALSO.get(code, code) != LANGUAGES[wanted.language]:
                continue
            if len(images) != 1:
                raise row.error("image", "is missing")
            for n, pair in enumerate(_pairs(row)):
                question = pair.text("question")
                yield Example(
                    id=f"{row.name('id')}/{n}",
                    messages=asked(said["ask"], {**said, "question": question}),
                    language=wanted.language,
                    images=images,
                    references=(pair.name("answer"),),
                    task="vqa",
                    group=images[0].name,
                    facts={"question": question},
                )


def _pairs(row: Row) -> list[Row]:
    """Questions with answers; they are stored as the writing of a list."""
    listed = written_list(row, "qa_pairs")
    if listed is None:
        raise row.error("qa_pairs", f"must be a list or its writing, found {row.get('qa_pairs')!r}")
    return Row({"qa_pairs": listed}, row.where).rows("qa_pairs")


BENCHMARKS.add(
    "mtvqa",
    Benchmark(
        name="mtvqa",
        about="Questions about text in pictures, in nine languages, answered in the language of the question.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"vqa": ("mtvqa-accuracy", "normalised-exact")},
        settings=Settings(max_new_tokens=64),
        licence="CC-BY-NC-4.0",
        citation="Tang et al., MTVQA: Benchmarking Multilingual Text-Centric Visual Question Answering, "
        "arXiv 2405.11985",
        translation="none: questions and answers written by speakers of each language",
    ),
)
