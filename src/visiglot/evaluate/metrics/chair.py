"""CHAIR: how much of what a caption names isn't in the picture (Rohrbach et al., 2018), for COCO's 80 objects.

CHAIR_i is the share of named objects, CHAIR_s the share of captions with such a one. As in the official `chair.py`
(LisaAnne/Hallucination, a967f2f): words in the singular, fixed pairs of words joined, each looked up in the synonyms;
what is in the picture is what COCO's boxes or any of its gold captions say. A pair may stand for no object: a "train
track" is no train.

`singular` gives for every word that can lead to one of COCO's objects what `singularize` of the package `pattern`
gives, its slips with them: "bus" is "bu" and is not counted while "buses" is, nor are "canoes", "ties" and "doggies";
"tennis racket" counts as "racket". Of 683,000 words with their plurals all that could matter agree but "oxens". NLTK's
tokenizer is replaced by a pattern, which splits also where a stop stands inside a text without a space behind it.

Captions are English. Rows must have the facts "objects", the categories of the picture's boxes joined by ", ", and
"synonyms", the path of the synonyms' file: a line of synonyms for each object, its name first, joined by ", "
(https://github.com/LisaAnne/Hallucination, data/synonyms.txt). The references are the gold captions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Array, Metric, Statistics, answer_and_references, mean
from visiglot.languages import ENGLISH
from visiglot.types import Prediction

_PAIRS = (
    "motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light",
    "fire hydrant", "stop sign", "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove",
    "tennis racket", "wine glass", "hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier", "potted plant",
    "laptop computer", "home plate", "train track",
)  # fmt: skip
_ANIMALS = (
    "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub",
)  # fmt: skip
_TOKEN = re.compile(r"[^\W_]+(?:[-/][^\W_]+)*")
_CLITIC = re.compile(r"(?<=[^\W_])(?:n't|'(?:s|m|d|ll|re|ve))\b")

_IRREGULAR = {"men": "man", "children": "child", "people": "person", "geese": "goose", "oxen": "ox", "kine": "cow"}
_UNCHANGED = frozenset({"scissors", "doggies"})
_ENDINGS = (
    (re.compile(r"oes$"), "o"),
    (re.compile(r"buses$"), "bus"),
    (re.compile(r"mice$"), "mouse"),
    (re.compile(r"(x|ch|ss|sh)es$"), r"\1"),
    (re.compile(r"([^aeiouy]|qu)ies$"), r"\1y"),
    (re.compile(r"([aeo]l)ves$"), r"\1f"),
    (re.compile(r"([nlw]i)ves$"), r"\1fe"),
    (re.compile(r"s$"), ""),
)


def joined_pairs() -> dict[str, str]:
    """Two words -> what they count as."""
    pairs = {pair: pair for pair in _PAIRS}
    for animal in _ANIMALS:
        pairs |= {f"baby {animal}": animal, f"adult {animal}": animal}
    return pairs | {
        "passenger jet": "jet", "passenger train": "train", "bow tie": "tie", "toilet seat": "toilet",
        "wine glas": "wine glass",
    }  # fmt: skip


_JOINED = joined_pairs()


def singular(word: str) -> str:
    """The singular of a lower-case English noun, as far as COCO's objects go."""
    if word in _UNCHANGED:
        return word
    for plural, one in _IRREGULAR.items():
        if word.endswith(plural):
            return word.removesuffix(plural) + one
    for ending, other in _ENDINGS:
        if ending.search(word):
            return ending.sub(other, word)
    return word


def read_synonyms(text: str) -> dict[str, str]:
    """Synonym -> name of its object. Where two spaces follow a comma the word keeps one and is never met."""
    names: dict[str, str] = {}
    for line in text.splitlines():
        words = line.strip().split(", ")
        names |= dict.fromkeys(words, words[0])
    return names


def objects_in(caption: str, names: Mapping[str, str]) -> list[str]:
    """The objects that a caption names, one for each mention.

    Args:
        names: see `read_synonyms`.
    """
    words = [singular(word) for word in _TOKEN.findall(_CLITIC.sub(" ", caption.lower()))]
    found: list[str] = []
    place = 0
    while place < len(words):
        pair = _JOINED.get(" ".join(words[place : place + 2]))
        found.append(pair or words[place])
        place += 2 if pair else 1
    if "toilet" in found:
        found = [word for word in found if word != "seat"]
    return [names[word] for word in found if word in names]


@dataclass(frozen=True)
class _Picture:
    """What the rows of one picture have in common."""

    objects: str
    captions: tuple[str, ...]
    synonyms: str


@lru_cache(maxsize=4)
def _synonyms(path: str) -> dict[str, str]:
    try:
        return read_synonyms(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"CHAIR's synonyms can't be read from {path!r}: {error}",
            hint="Put data/synonyms.txt of LisaAnne/Hallucination at ROOT/chair/synonyms.txt and give --data ROOT.",
        ) from error


@lru_cache(maxsize=2**14)
def _there(picture: _Picture) -> frozenset[str]:
    """The objects in the picture, by its boxes and its gold captions.

    Raises:
        EvaluationError: a box's category isn't in the synonyms.
    """
    names = _synonyms(picture.synonyms)
    boxes = [box for box in picture.objects.split(", ") if box]
    unknown = [box for box in boxes if box not in names]
    if unknown:
        raise EvaluationError(
            f"{picture.synonyms} has no line for {', '.join(map(repr, unknown))}",
            hint="Objects must be COCO's categories, and the file the official synonyms.txt.",
        )
    return frozenset(names[box] for box in boxes).union(*(objects_in(text, names) for text in picture.captions))


def measure(rows: Sequence[Prediction], language: str) -> Statistics:
    """[U, 4]: mentions of what isn't there, mentions, captions with such a mention, 1.

    Raises:
        EvaluationError: another language than English, or a row without the facts.
    """
    table: Array = np.ones((len(rows), 4))
    for place, row in enumerate(rows):
        missing = [fact for fact in ("objects", "synonyms") if fact not in row.facts]
        if language != ENGLISH or missing:
            raise EvaluationError(
                f"{row.benchmark}, {row.language}: CHAIR can't judge row {row.id!r}: "
                + (f"it lacks the facts {', '.join(missing)}" if missing else "its words are English"),
                hint="CHAIR needs English captions of COCO's pictures, with `objects` and `synonyms` in the facts.",
            )
        text, references = answer_and_references(row)
        there = _there(_Picture(row.facts["objects"], references, row.facts["synonyms"]))
        named = objects_in(text, _synonyms(row.facts["synonyms"]))
        wrong = sum(name not in there for name in named)
        table[place, :3] = wrong, len(named), wrong > 0
    return Statistics(table, tuple(row.group or row.id for row in rows))


def chair_i(sums: Array) -> Array:
    """Share of the named objects that aren't there; NaN when none is named."""
    return mean(sums[..., :2])


def chair_s(sums: Array) -> Array:
    """Share of the captions that name something that isn't there."""
    return mean(sums[..., 2:])


_VALUES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "chair-i": (
        chair_i,
        "CHAIR_i: of the objects of COCO that the captions name, the share that isn't in the picture.",
    ),
    "chair-s": (chair_s, "CHAIR_s: share of the captions that name an object of COCO that isn't in the picture."),
}
for name, (reduce, about) in _VALUES.items():
    METRICS.add(
        name,
        Metric(
            name=name,
            about=about,
            measure=measure,
            reduce=reduce,
            tokenisation=lambda: "chair-words",
            higher_is_better=False,
        ),
    )
