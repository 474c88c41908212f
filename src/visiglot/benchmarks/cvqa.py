"""CVQA: questions about pictures of a culture, written by its people in their language and in English (Romero et al.,
2024).

Each subset is a language in a country. The test set is published with all labels hidden (-1): its answers can be made
and submitted to the authors' leaderboard, while scoring needs a file with labels. Languages share no questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from visiglot.benchmarks.packed import packed_rows, written_list
from visiglot.benchmarks.wording import asked, words
from visiglot.data.rows import Row
from visiglot.errors import LanguageError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import Asked, Publication, PublishedData, open_published
from visiglot.evaluate.written import list_in
from visiglot.languages import language
from visiglot.types import Example

REPO = "afaji/cvqa"
LEADERBOARD = "https://eval.ai/web/challenges/challenge-page/2305/"
HIDDEN = -1
LANGUAGES = (
    "amh_Ethi", "arz_Arab", "ben_Beng", "bre_Latn", "bul_Cyrl", "gaz_Latn", "gle_Latn", "hin_Deva", "ibo_Latn",
    "ind_Latn", "jav_Latn", "jpn_Jpan", "khk_Cyrl", "kin_Latn", "kor_Hang", "mar_Deva", "min_Latn", "nob_Latn",
    "por_Latn", "ron_Latn", "rus_Cyrl", "sin_Sinh", "spa_Latn", "sun_Latn", "swh_Latn", "tam_Taml", "tel_Telu",
    "tgl_Latn", "urd_Arab", "zho_Hans", "zsm_Latn",
)  # fmt: skip
CODES = {"Chinese": "zho_Hans"}
"""What the data call a language -> FLORES code, where the language table doesn't know it by that name alone."""
COLUMNS = ("ID", "Subset", "Question", "Translated Question", "Options", "Translated Options", "Label", "Category")
TEXTS = {
    "native": ("Question", "Options"),
    "translated": ("Translated Question", "Translated Options"),
    "paper": ("Question", "Options"),
}
"""Prompt set -> columns of its question and options."""

PUBLICATION = Publication(
    home=f"https://huggingface.co/datasets/{REPO}",
    layout=f"data/test-*.parquet, with the columns image, {', '.join(COLUMNS)}",
    texts=("data/test-*.parquet",),
    repo=REPO,
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "cvqa", PUBLICATION)
    files = sorted(folder.glob(PUBLICATION.texts[0]))
    split = {"test": dict.fromkeys(LANGUAGES, files[0])}
    return PublishedData(revision, split, lambda asked: _examples(asked, files), PUBLICATION.home)


def _subset(row: Row) -> tuple[str, str]:
    """FLORES code and how the subset is called: "Spanish (Ecuador)"."""
    text = row.text("Subset")
    parts = [str(part).replace("_", " ") for part in list_in(text) or ()]
    if len(parts) != 2:
        raise row.error("Subset", f"must be the writing of a language and a country, found {text!r}")
    name, country = parts
    try:
        code = CODES.get(name) or language(name).code
    except LanguageError as error:
        raise row.error("Subset", f"names a language that isn't known, found {text!r}: {error.message}") from error
    return code, f"{name} ({country})"


def _examples(wanted: Asked, files: Sequence[Path]) -> Iterator[Example]:
    said = words("cvqa", wanted.prompt_set, wanted.language)
    for file in files:
        for row, images in packed_rows("CVQA's pictures", file, files, COLUMNS, ("image",)):
            code, subset = _subset(row)
            if code != wanted.language:
                continue
            if len(images) != 1:
                raise row.error("image", "is missing")
            question, options = _texts(row, wanted.prompt_set)
            values: Mapping[str, str] = {
                **said,
                "question": question,
                "options": "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options)),
            }
            yield Example(
                id=row.name("ID"),
                messages=asked(said["ask"], values),
                language=wanted.language,
                images=images,
                references=_references(row, len(options)),
                task="choice",
                group=images[0].name,
                facts={
                    "options": json.dumps(options, ensure_ascii=False),
                    "subset": subset,
                    "category": row.text("Category"),
                },
                choices=tuple(LETTERS[: len(options)]),
            )


def _texts(row: Row, prompt_set: str) -> tuple[str, list[str]]:
    question, options = TEXTS[prompt_set]
    listed = written_list(row, options)
    if listed is None or not 1 < len(listed) <= len(LETTERS):
        raise row.error(options, f"must be a list of two options or more, or its writing, found {row.get(options)!r}")
    return row.text(question).strip(), [str(option).strip() for option in listed]


def _references(row: Row, count: int) -> tuple[str, ...]:
    """The right letter; none where the label is hidden."""
    label = row.integer("Label")
    if not HIDDEN <= label < count:
        raise row.error("Label", f"must be the place of an option, or {HIDDEN} where it is hidden, found {label}")
    return () if label == HIDDEN else (LETTERS[label],)


BENCHMARKS.add(
    "cvqa",
    Benchmark(
        name="cvqa",
        about="Questions about pictures of a culture, in the language of its people, one of four answers.",
        load=load,
        splits=("test",),
        prompt_sets=tuple(TEXTS),
        metrics={"choice": ("choice-accuracy", "letter-failures", "chance")},
        settings=Settings(max_new_tokens=64),
        facts=("options", "subset", "category"),
        parts=("subset", "category"),
        hidden=LEADERBOARD,
        licence="of each question its own",
        citation="Romero et al., CVQA: Culturally-diverse Multilingual Visual Question Answering Benchmark, "
        "NeurIPS 2024, arXiv 2406.05967",
        translation="none: written by speakers of each language; the English of `translated` by the same people",
    ),
)
