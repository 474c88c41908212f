"""M3Exam: questions with pictures from school exams, in the languages of those who set them (Zhang et al., 2023).

Only the questions that need pictures are asked. Exams label options with letters or numbers; here they are lettered
anew. The split `cycle` asks each question once for each rotation of its options, as Centurio does (Geigle et al.,
2025), and counts those that are answered rightly every time. Languages share no questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from visiglot.benchmarks.wording import asked_among, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import JsonRows, Row
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.folded import ROTATION
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    files_by_language,
    open_published,
    picture,
)
from visiglot.types import Example, ImageRef

LANGUAGES = {
    "eng_Latn": "english", "afr_Latn": "afrikaans", "ita_Latn": "italian", "jav_Latn": "javanese",
    "por_Latn": "portuguese", "swh_Latn": "swahili", "tha_Thai": "thai", "vie_Latn": "vietnamese",
    "zho_Hans": "chinese",
}  # fmt: skip
ROOTS = ("data/multimodal-questions", "data/multimodal-question", ".")
"""The first as the README has it. The folder beside it is called without the last letter in the authors' script."""
SPLITS = {"test": "choice", "cycle": "cycle"}
"""Split -> its task."""

_PICTURE = re.compile(r"\(image\)\[([^\]]+)\]")
_LABEL = re.compile(r"^\s*[(（]?\s*([A-Za-z]|\d{1,2})\s*[)）.．:：、]\s*")

PUBLICATION = Publication(
    home="https://github.com/DAMO-NLP-SG/M3Exam",
    layout="data/multimodal-questions/<language>-questions-image.json, and images-<language>/<picture> beside it",
    texts=tuple(f"{root}/*-questions-image.json" for root in ROOTS),
)


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "m3exam", PUBLICATION)
    files = files_by_language(folder, [f"{root}/{{code}}-questions-image.json" for root in ROOTS], LANGUAGES)
    return PublishedData(
        revision, dict.fromkeys(SPLITS, files), _examples, PUBLICATION.home, unit=lambda example: example.group
    )


def _examples(wanted: Asked) -> Iterator[Example]:
    said = words("m3exam", wanted.prompt_set, wanted.language)
    pictures = Pictures(wanted.file.with_name(f"images-{LANGUAGES[wanted.language]}"))
    for number, row in enumerate(all_rows(JsonRows(wanted.file))):
        labels, options = _options(row)
        answer = row.name("answer_text")
        if answer not in labels:
            raise row.error("answer_text", f"must be one of {', '.join(labels)}, found {answer!r}")
        right = labels.index(answer)
        background = row.get("background_description") or []
        question = "\n".join([*_lines(row, background), row.text("question_text")])
        for turn in range(len(options) if wanted.split == "cycle" else 1):
            turned = [*options[turn:], *options[:turn]]
            listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, turned))
            names = list(dict.fromkeys(_PICTURE.findall(f"{question}\n{listed}")))
            values = {
                **said,
                "question": _marked(question, names),
                "options": _marked(listed, names),
            }
            yield Example(
                id=str(number + turn * ROTATION),
                messages=asked_among(said["ask"], values, len(names)),
                language=wanted.language,
                images=tuple(_picture(pictures, row, name) for name in names),
                references=(LETTERS[(right - turn) % len(options)],),
                task=SPLITS[wanted.split],
                group=str(number),
                facts={
                    "index": str(number + turn * ROTATION),
                    "index_rows": str(len(options)) if wanted.split == "cycle" else "1",
                    "options": json.dumps([_PICTURE.sub("", option).strip() for option in turned], ensure_ascii=False),
                    "category": str(row.get("subject_category") or ""),
                    "level": str(row.get("level") or ""),
                },
                choices=tuple(LETTERS[: len(options)]),
            )


def _options(row: Row) -> tuple[list[str], list[str]]:
    """Labels as in the exam, and the options without them."""
    labels, options = [], []
    for n, text in enumerate(row.texts("options")):
        match = _LABEL.match(text)
        if match is None:
            raise row.error(f"options[{n}]", f"must begin with a letter or number and its stop, found {text!r}")
        labels.append(match[1])
        options.append(text[match.end() :].strip())
    if not 1 < len(options) <= len(LETTERS) or len(set(labels)) < len(labels):
        raise row.error("options", f"must be two or more, each with a label of its own, found {', '.join(labels)}")
    return labels, options


def _lines(row: Row, background: object) -> list[str]:
    if not isinstance(background, list) or not all(isinstance(line, str) for line in background):
        raise row.error("background_description", f"must be a list of texts, found {background!r}")
    return background


def _marked(text: str, names: list[str]) -> str:
    """`text` with the places of its pictures numbered."""
    return _PICTURE.sub(lambda match: f"<image {names.index(match[1]) + 1}>", text)


def _picture(pictures: Pictures, row: Row, name: str) -> ImageRef:
    """The name of a picture is unique in its language only."""
    ref = picture(pictures, row, "question_text", name)
    return ImageRef(f"{pictures.root.name}/{name}", path=ref.path)


BENCHMARKS.add(
    "m3exam",
    Benchmark(
        name="m3exam",
        about="Questions with pictures from school exams, in the languages of the countries that set them.",
        load=load,
        splits=tuple(SPLITS),
        prompt_sets=("native", "paper"),
        metrics={
            "choice": ("choice-accuracy", "letter-failures", "chance", "choices"),
            "cycle": ("circular-accuracy", "choice-accuracy", "letter-failures", "chance", "choices"),
        },
        settings=Settings(max_new_tokens=64),
        facts=("index", "index_rows", "options", "category", "level"),
        licence="not stated",
        citation="Zhang et al., M3Exam, NeurIPS 2023, arXiv 2306.05179",
        translation="none: exams of each country",
    ),
)
