"""POPE: accuracy, precision, recall, F1 and share of yes on questions whether an object is in the picture.

Two rules say what an answer means:

- `-official`, as POPE's `evaluate.py` (AoiDragon/POPE, f3ec604): "no" if "No", "no" or "not" is a word of the text up
  to the first full stop, commas left out; everything else is "yes", an empty answer and a Spanish "Sí" too.
- the default: the first word for yes or no in the answer's language (`languages.toml`, `yes_no.toml`), whatever its
  case; else "yes" or "no" if the answer begins with it in English; else undetermined.

An undetermined answer is neither yes nor no: it is wrong in the accuracy, an object missed in the recall where the
right answer is yes, and no yes in the share of yes, whose denominator it is in. `yes-no-failures` counts them, so they
are not left out anywhere.

The reference is "yes" or "no", in English or in the language.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from typing import Literal

import numpy as np

from visiglot.errors import EvaluationError, LanguageError
from visiglot.evaluate.metrics import METRICS, Array, Metric, Statistics, always, answer_and_references
from visiglot.evaluate.metrics.normal import normalised_words
from visiglot.languages import language as language_row
from visiglot.types import Prediction

Said = Literal["yes", "no"]
Rule = Callable[[str, str], Said | None]
"""(answer, language) -> what it says, None: it can't be told."""

COLUMNS = (
    "said yes, is",
    "said yes, isn't",
    "said no, is",
    "said no, isn't",
    "undetermined, is",
    "undetermined, isn't",
)


def official_yes_no(text: str, language: str) -> Said:
    """POPE's own rule, English in all languages."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def native_yes_no(text: str, language: str) -> Said | None:
    """What the first word for yes or no in the language says; else what an answer says that begins in English."""
    words = normalised_words(text, language)
    first: tuple[int, int, Said] | None = None
    said: Said
    for said, known in _known(language).items():
        for word in known:
            place = _place(word, words, language)
            if place is not None and (first is None or (place, -len(word)) < first[:2]):
                first = place, -len(word), said
    if first is not None:
        return first[2]
    if words[:1] == ["yes"]:
        return "yes"
    return "no" if words[:1] == ["no"] else None


@cache
def _known(language: str) -> Mapping[Said, tuple[str, ...]]:
    """The words for yes and no, as `normalised_words` writes them."""
    text = resources.files("visiglot.evaluate.metrics").joinpath("yes_no.toml").read_text(encoding="utf-8")
    more = tomllib.loads(text).get(language, {})
    try:
        literals = language_row(language).literals
    except LanguageError:
        literals = {}
    kinds: tuple[Said, ...] = ("yes", "no")
    return {
        said: tuple(
            " ".join(normalised_words(word, language))
            for word in [*([literals[said]] if said in literals else []), *more.get(said, [])]
        )
        for said in kinds
    }


def _place(word: str, words: Sequence[str], language: str) -> int | None:
    """Where `word` begins among the signs of the answer: as a whole word, or anywhere in languages without spaces."""
    text = " ".join(words)
    if _spaced(language):
        match = re.search(rf"(?<!\S){re.escape(word)}(?!\S)", text)
        return match.start() if match else None
    place = text.find(word)
    return place if place >= 0 else None


@cache
def _spaced(language: str) -> bool:
    """Whether words stand between spaces."""
    try:
        row = language_row(language)
    except LanguageError:
        return True
    return row.segmentation == "spaces"


def gold_yes_no(row: Prediction) -> Said:
    """What the row's reference says.

    Raises:
        EvaluationError: the reference is neither yes nor no.
    """
    _, references = answer_and_references(row)
    gold = unicodedata.normalize("NFC", references[0]).strip()
    if gold.lower() in ("yes", "no"):
        return "yes" if gold.lower() == "yes" else "no"
    said = native_yes_no(gold, row.language)
    if said is None:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r}: the reference {gold!r} is neither yes nor no",
            hint='Give "yes" or "no" as the reference.',
        )
    return said


def counts(rows: Sequence[Prediction], language: str, rule: Rule) -> Statistics:
    """One 1 a row, in the column of what was said and what is: [U, 6], see COLUMNS."""
    table: Array = np.zeros((len(rows), len(COLUMNS)))
    for place, row in enumerate(rows):
        text, _ = answer_and_references(row)
        said = {"yes": 0, "no": 2, None: 4}[rule(text, language)]
        table[place, said + (gold_yes_no(row) == "no")] = 1
    return Statistics(table, tuple(row.group or row.id for row in rows))


def _share(part: Array, whole: Array) -> Array:
    """[...] part / whole; NaN where there is nothing to divide by."""
    values: Array = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=values, where=whole > 0)
    return values


def accuracy(sums: Array) -> Array:
    return _share(sums[..., 0] + sums[..., 3], sums.sum(axis=-1))


def precision(sums: Array) -> Array:
    return _share(sums[..., 0], sums[..., 0] + sums[..., 1])


def recall(sums: Array) -> Array:
    return _share(sums[..., 0], sums[..., 0] + sums[..., 2] + sums[..., 4])


def f1(sums: Array) -> Array:
    """Of precision and recall, in the form that is 0 where both are."""
    return _share(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2] + sums[..., 4])


def yes_ratio(sums: Array) -> Array:
    return _share(sums[..., 0] + sums[..., 1], sums.sum(axis=-1))


def failures(sums: Array) -> Array:
    return _share(sums[..., 4] + sums[..., 5], sums.sum(axis=-1))


RULES: dict[str, tuple[Rule, str, str]] = {
    "": (native_yes_no, "yes-no-1", "by the first word for yes or no in the language"),
    "-official": (
        official_yes_no,
        "pope-official",
        "by POPE's own rule: no if an English no or not is there, else yes",
    ),
}
"""Ending of a metric's name -> rule, its name as a tokenisation, its description."""

_VALUES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "pope-accuracy": (accuracy, "Share of right answers"),
    "pope-precision": (precision, "Of the objects that were said to be there, the share that is"),
    "pope-recall": (recall, "Of the objects that are there, the share that was said to be"),
    "pope-f1": (f1, "Harmonic mean of precision and recall of the objects said to be there"),
    "pope-yes-ratio": (yes_ratio, "Share of answers that say yes"),
}


def _add(name: str, about: str, rule: Rule, reduce: Callable[[Array], Array], tokenisation: str) -> None:
    row = Metric(
        name=name,
        about=about,
        measure=partial(counts, rule=rule),
        reduce=reduce,
        tokenisation=always(tokenisation),
        higher_is_better=reduce is not failures,
    )
    METRICS.add(name, row)


for _ending, (_rule, _named, _how) in RULES.items():
    for _name, (_reduce, _what) in _VALUES.items():
        _add(f"{_name}{_ending}", f"{_what}, {_how}.", _rule, _reduce, _named)
_add(
    "yes-no-failures",
    "Share of answers without a word for yes or no in the language.",
    native_yes_no,
    failures,
    "yes-no-1",
)
