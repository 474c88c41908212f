"""Babel-ImageNet: ImageNet's classes by their names in BabelNet, in some 300 languages (Geigle et al., 2023).

A language has those classes that it has a name for, from 18 to 1,000: what guessing gives and the number of choices
stand beside every accuracy. Two benchmarks read the same files:

- `babel-imagenet`: which of all names is likeliest (answers are ranked, `--answers likelihood`). The paper ranks by
  CLIP's embeddings and asks nothing, so there is no prompt of its own to follow.
- `bin-mc`: four names to choose from, ten pictures a class, as in Centurio (Geigle et al., 2025). Its wrong names are
  those of the three nearest classes by ImageNet's number, which puts kindred things side by side; Centurio took those
  whose English names have the most similar embeddings, and has not published which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from visiglot.benchmarks.wording import asked, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import Row
from visiglot.data.rows.folders import FolderRows
from visiglot.data.wiki_codes import wiki_language
from visiglot.errors import DataError, EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    lacking,
    open_published,
    picture,
    picture_folder,
)
from visiglot.languages import ENGLISH
from visiglot.types import Example, ImageRef

FOLDER = "babel-imagenet"
LABELS = ("babel_imagenet-298.json", "babel_imagenet.json")
CLASSES = "imagenet_class_index.json"
WRONG, OF_A_CLASS = 3, 10
"""Of `bin-mc`: wrong names of a question, and pictures of a class."""

PUBLICATION = Publication(
    home="https://github.com/gregor-ge/Babel-ImageNet (data), "
    "https://s3.amazonaws.com/deep-learning-models/image-models/imagenet_class_index.json, and "
    "https://image-net.org for the pictures of ILSVRC 2012's validation, sorted into folders",
    layout=f"{LABELS[0]} or {LABELS[1]}, {CLASSES}, and val/<n01440764>/<picture>",
    texts=(*LABELS, CLASSES),
    pictures=("val",),
)


@dataclass(frozen=True)
class Labels:
    """The names of classes.

    Args:
        folders: class number -> its folder ("n01440764").
        names: FLORES code -> class number -> name.
    """

    folders: Mapping[int, str]
    names: Mapping[str, Mapping[int, str]]


def load(name: str, folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, FOLDER, PUBLICATION)
    file = next((folder / label for label in LABELS if (folder / label).is_file()), None)
    if file is None or not (folder / CLASSES).is_file():
        raise lacking(FOLDER, folder, CLASSES if file is not None else " or ".join(LABELS), PUBLICATION)
    pictures = picture_folder(FOLDER, folder, PUBLICATION)
    try:
        labels = read_labels(file, folder / CLASSES)
    except DataError as error:
        raise EvaluationError(error.message, hint=f"The files come from {PUBLICATION.home}") from error
    make = _ranked if name == FOLDER else _chosen

    def examples(wanted: Asked) -> Iterator[Example]:
        return make(wanted, labels, pictures)

    return PublishedData(revision, {"val": dict.fromkeys(labels.names, file)}, examples, PUBLICATION.home)


def read_labels(file: Path, classes: Path) -> Labels:
    """Names in the languages that Visiglot's table has; English is the classes' own where `file` has none.

    Args:
        file: {code of BabelNet: [class numbers, names]}.
        classes: {class number: [folder, English name]}.

    Raises:
        DataError: a file is of another form, or names a class that isn't there.
    """
    found = {int(number): pair for number, pair in _object(classes).items() if number.isdecimal()}
    for number, pair in found.items():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise DataError(f"{classes}, field `{number}`: must be a folder and a name, found {pair!r}")
    names = {ENGLISH: {number: str(name).replace("_", " ") for number, (_, name) in found.items()}}
    own: set[str] = set()
    for code, pair in _object(file).items():
        language = wiki_language(code)
        if language is None or language in own:
            continue
        own.add(language)
        names[language] = _names(file, code, pair, found)
    return Labels({number: folder for number, (folder, _) in found.items()}, names)


def _names(file: Path, code: str, pair: Any, classes: Mapping[int, Any]) -> dict[int, str]:
    parts = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
    numbers, texts = parts
    if not isinstance(numbers, list) or not isinstance(texts, list) or len(numbers) != len(texts) or not numbers:
        raise DataError(f"{file}, field `{code}`: must be class numbers and as many names")
    for number, text in zip(numbers, texts, strict=True):
        if number not in classes or not isinstance(text, str) or not text.strip():
            raise DataError(f"{file}, field `{code}`: {number!r} must be a class's number and {text!r} its name")
    return {number: text.strip() for number, text in zip(numbers, texts, strict=True)}


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file}: must be an object, found {type(found).__name__}")
    return found


def _pictured(pictures: Pictures, names: Mapping[int, str], labels: Labels) -> Iterator[tuple[int, Row, Sequence[str]]]:
    """Class, row of its folder, and its pictures, of the classes that the language has and the folder too."""
    numbers = {labels.folders[number]: number for number in names}
    for row in all_rows(FolderRows(pictures.root)):
        if row.key in numbers:
            yield numbers[row.key], row, row.need("pictures")


def _ref(pictures: Pictures, row: Row, file: str) -> ImageRef:
    return picture(pictures, row, "pictures", f"{row.key}/{file}")


def _ranked(wanted: Asked, labels: Labels, pictures: Pictures) -> Iterator[Example]:
    """One example for each picture; two classes of one name are one choice."""
    said = words(FOLDER, wanted.prompt_set, wanted.language)
    names = labels.names[wanted.language]
    choices = tuple(dict.fromkeys(names.values()))
    for number, row, files in _pictured(pictures, names, labels):
        for file in files:
            yield Example(
                id=f"{row.key}/{Path(file).stem}",
                messages=asked(said["ask"], said),
                language=wanted.language,
                images=(_ref(pictures, row, file),),
                references=(names[number],),
                task="classify",
                group=row.key,
                facts={"class": str(number)},
                choices=choices,
            )


def _chosen(wanted: Asked, labels: Labels, pictures: Pictures) -> Iterator[Example]:
    """One question for each of a class's first pictures; a language with less than four names has none."""
    said = words("bin-mc", wanted.prompt_set, wanted.language)
    names = labels.names[wanted.language]
    for number, row, files in _pictured(pictures, names, labels):
        wrong = nearest_names(number, names)
        if len(wrong) < WRONG:
            continue
        for file in files[:OF_A_CLASS]:
            id = f"{row.key}/{Path(file).stem}"
            place = hashlib.sha256(id.encode()).digest()[0] % (WRONG + 1)
            options = [*wrong[:place], names[number], *wrong[place:]]
            listed = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options))
            yield Example(
                id=id,
                messages=asked(said["ask"], {**said, "options": listed}),
                language=wanted.language,
                images=(_ref(pictures, row, file),),
                references=(LETTERS[place],),
                task="choice",
                group=row.key,
                facts={"class": str(number), "options": json.dumps(options, ensure_ascii=False)},
                choices=tuple(LETTERS[: len(options)]),
            )


def nearest_names(number: int, names: Mapping[int, str]) -> list[str]:
    """Names other than the class's own of the three nearest classes by number, the lower of two as near first."""
    by_distance = sorted(names, key=lambda other: (abs(other - number), other))
    return list(dict.fromkeys(names[other] for other in by_distance if names[other] != names[number]))[:WRONG]


LICENCE = "BabelNet Non-Commercial License (names); pictures: ImageNet, for non-commercial research"
TRANSLATION = "none: names of the same synsets in BabelNet"
PAPER = "Geigle et al., Babel-ImageNet, ACL 2024, arXiv 2306.08658"

BENCHMARKS.add(
    FOLDER,
    Benchmark(
        name=FOLDER,
        about="What is in the picture? The likeliest of all of ImageNet's classes that the language has a name for.",
        load=partial(load, FOLDER),
        prompt_sets=("native",),
        metrics={
            "classify": (
                "likelihood-accuracy",
                "likelihood-accuracy-by-character",
                "normalised-exact",
                "chance",
                "choices",
            )
        },
        settings=Settings(max_new_tokens=16),
        citation=PAPER,
        splits=("val",),
        licence=LICENCE,
        translation=TRANSLATION,
    ),
)
BENCHMARKS.add(
    "bin-mc",
    Benchmark(
        name="bin-mc",
        about="What is in the picture? One of four names of ImageNet's classes.",
        load=partial(load, "bin-mc"),
        prompt_sets=("native", "paper"),
        metrics={"choice": ("choice-accuracy", "letter-failures", "chance", "choices")},
        settings=Settings(max_new_tokens=16),
        folder=FOLDER,
        facts=("options", "class"),
        citation=f"{PAPER}; Geigle et al., Centurio, ACL 2025, arXiv 2501.05122",
        splits=("val",),
        licence=LICENCE,
        translation=TRANSLATION,
    ),
)
