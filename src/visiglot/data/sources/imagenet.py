"""ImageNet's pictures with Babel-ImageNet's names of their classes (Geigle et al., 2023, arXiv 2306.08658)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.hashing import hash64
from visiglot.data.permutation import permuted
from visiglot.data.rows import Row, opened
from visiglot.data.rows.folders import FolderRows
from visiglot.data.wiki_codes import wiki_language
from visiglot.errors import DataError
from visiglot.languages import ENGLISH
from visiglot.types import Example, ImageSlot, Message

LICENCE = "ImageNet non-commercial AND BabelNet Non-Commercial License"


@adapter("imagenet", title="ImageNet with Babel-ImageNet's labels", licence=LICENCE, own_languages=True)
def imagenet(
    origin: Origin, *, images: Path, names: Path, labels: Path | None = None, rounds: Annotated[int, Field(ge=1)] = 8
) -> Reading:
    """Pictures and what they show: `rounds` pictures of each class in each language that has a name for it.

    `images` holds a folder for each class (`n01440764`, …). `names` has the English names, of all classes in use: JSON
    (`{"n01440764": "tench"}` or `{"0": ["n01440764", "tench"]}`) or lines of class, tab and name. `labels` is
    `babel_imagenet.json`, `{"DE": [[0, 2], ["Schleie", "Weißer Hai"]]}`, whose numbers count the sorted classes of
    `names`; without it there is English only. Languages that Visiglot's table doesn't have are left out.

    No picture is used twice: a class with too few of them has its last rounds in fewer languages.
    """
    english = _english(names)
    classes = _Classes(english, _labels(labels, sorted(english)) if labels is not None else {}, rounds)
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        name = row.text("folder")
        if name not in english:
            raise row.error("folder", f"has no name in {names}", hint="Name every class, or take its folder away.")
        if not english[name]:
            raise row.error("folder", f"its name in {names} is empty")
        return _OfClass(origin, row, pictures, classes)

    reads = (names,) if labels is None else (names, labels)
    return Reading(FolderRows(images), examples, reads=reads)


@dataclass(frozen=True)
class _Classes:
    """The names of classes: English ones, and by class a list of BabelNet's code, FLORES-200 code and name."""

    english: Mapping[str, str]
    others: Mapping[str, Sequence[tuple[str, str, str]]]
    rounds: int

    def of(self, name: str) -> Sequence[tuple[str, str, str]]:
        return [("EN", ENGLISH, self.english[name]), *self.others.get(name, ())]


class _OfClass(Sequence[Example]):
    """The examples of one class, made when they are asked for."""

    def __init__(self, origin: Origin, row: Row, pictures: Pictures, classes: _Classes) -> None:
        self.origin = origin
        self.row = row
        self.pictures = pictures
        self.name = row.text("folder")
        self.names: Sequence[str] = row.need("pictures")
        self.labels = classes.of(self.name)
        self.size = min(classes.rounds * len(self.labels), len(self.names))

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        round, number = divmod(index, len(self.labels))
        babel, code, label = self.labels[number]
        file = self.names[permuted(index, len(self.names), self._key)]
        ref = self.pictures.ref(self.row, "pictures", f"{self.name}/{file}")
        turns = (Message("user", (ImageSlot(0),)), Message("assistant", (label,)))
        facts = {"label": label, "class": self.name} | ({} if code == ENGLISH else {"source.label": self.labels[0][2]})
        return self.origin.turns(f"{self.name}-{babel}-{round}", (ref,), turns, language=code, task="imagenet", **facts)

    @cached_property
    def _key(self) -> tuple[int]:
        return (hash64(self.name),)


def _english(path: Path) -> dict[str, str]:
    """Class -> English name, "" where it is empty. Raises DataError."""
    if path.suffix != ".json":
        return dict(_lines(path))
    found = _json(path)
    names: dict[str, str] = {}
    for key, value in found.items():
        pair = value if isinstance(value, list) else [key, value]
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise DataError(f"{path}, field `{key}`: must be a name, or a class and a name, found {value!r}")
        names[pair[0]] = pair[1].strip()
    return names


def _lines(path: Path) -> list[tuple[str, str]]:
    pairs = []
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number}: isn't UTF-8: {error}") from error
            name, tab, label = text.partition("\t")
            if text and not tab:
                raise DataError(f"{path}, line {number}: must be a class, a tab and a name, found {text!r}")
            if text:
                pairs.append((name.strip(), label.strip()))
    return pairs


def _labels(path: Path, order: Sequence[str]) -> dict[str, list[tuple[str, str, str]]]:
    """Class -> its names in the languages of the file but English. Raises DataError."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for babel, pair in sorted(_json(path).items()):
        code = wiki_language(babel)
        if code is None or code == ENGLISH:
            continue
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, list) for part in pair):
            raise DataError(f"{path}, field `{babel}`: must be a list of numbers and a list of names")
        numbers, texts = pair
        if len(numbers) != len(texts):
            raise DataError(f"{path}, field `{babel}`: has {len(numbers)} classes, but {len(texts)} names")
        for n, (number, text) in enumerate(zip(numbers, texts, strict=True)):
            if not isinstance(number, int) or not 0 <= number < len(order):
                raise DataError(
                    f"{path}, field `{babel}[0][{n}]`: is {number!r}, but there are {len(order)} classes",
                    hint="`names` must have all classes that the labels were made for, usually 1,000.",
                )
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{path}, field `{babel}[1][{n}]`: must be a name, found {text!r}")
            found.setdefault(order[number], []).append((babel, code, text.strip()))
    return found


def _json(path: Path) -> dict[str, Any]:
    with opened(path) as file:
        try:
            found = json.load(file)
        except ValueError as error:
            raise DataError(f"{path}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: must be an object")
    return found
