"""VQA's soft accuracy and normalisation of answers, equal to the official `vqaEval.py` (GT-Vision-Lab/VQA, a013f00).

An answer scores min(1, matches / 3) against all gold answers but one, averaged over which one is left out. The rules of
the normalisation are English and are kept with their quirks:

- a punctuation mark becomes a space, but vanishes where it stands beside a space anywhere in the answer, or where the
  answer has a comma between two digits anywhere;
- the first 32 full stops that no digit follows are removed, those behind a digit too: the script gives a flag of `re`
  where the number of replacements belongs, and has a look-behind that never applies;
- "none" is "0", as "zero" is;
- three of the contractions ("Im") are written with a capital and never met, since the words are lower-cased first.

Where all gold answers agree letter for letter, neither they nor the answer are normalised (so that texts read from the
picture stay as they are, by the authors' word in GT-Vision-Lab/VQA#14): "Yes." is then wrong for ten times "yes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

from visiglot.errors import EvaluationError
from visiglot.evaluate.metrics import METRICS, Measure, Metric, Statistics, answer_and_references, mean, mean_statistics
from visiglot.types import Prediction

ENOUGH = 3
"""People who must have given an answer for it to count in full."""

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_STOP = re.compile(r"\.(?!\d)")
_MOST_STOPS = 32
_GROUPED_NUMBER = re.compile(r"\d,\d")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip

_ONE_APOSTROPHE = """ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
how'll how's I'm I've isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't 'twas
shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll that's
there'd there're there's they'd they'll they're they've wasn't we've weren't what'll what're what's what've when's
where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're
you've"""
_TWO_APOSTROPHES = """couldn't've hadn't've he'd've I'd've it'd've mightn't've she'd've shouldn't've somebody'd've
someone'd've something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've"""
_OTHERS = {
    "somebody'd": "somebodyd", "ow's'at": "'ow's'at", "'ows'at": "'ow's'at", "'ow'sat": "'ow's'at",
    "yall'd've": "y'all'd've", "y'alld've": "y'all'd've", "y'all'dve": "y'all'd've",
}  # fmt: skip


@cache
def _contractions() -> dict[str, str]:
    """Contraction with one apostrophe left out -> contraction."""
    found = dict(_OTHERS)
    for word in _ONE_APOSTROPHE.split():
        found[word.replace("'", "")] = word
    for word in _TWO_APOSTROPHES.split():
        first, second, third = word.split("'")
        found[f"{first}{second}'{third}"] = found[f"{first}'{second}{third}"] = word
    return found


def without_punctuation(text: str) -> str:
    """The script's `processPunctuation`."""
    grouped = _GROUPED_NUMBER.search(text) is not None
    found = text
    for mark in _MARKS:
        beside = f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if beside or grouped else " ")
    return _STOP.sub("", found, count=_MOST_STOPS)


def without_articles(text: str) -> str:
    """The script's `processDigitArticle`: lower case, digits for one to ten, no articles, apostrophes put back."""
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_contractions().get(word, word) for word in words if word not in _ARTICLES)


def normalise(text: str) -> str:
    """The script's normalisation of an answer whose line breaks are spaces."""
    return without_articles(without_punctuation(text))


def one_line(text: str) -> str:
    """Line breaks and tabs as spaces, none at the ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def soft_accuracy(answer: str, references: Sequence[str]) -> float:
    """Mean over the references of min(1, matches among the others / 3), texts compared as they are."""
    matches = sum(reference == answer for reference in references)
    scores = [min(1.0, (matches - (reference == answer)) / ENOUGH) for reference in references]
    return sum(scores) / len(scores)


def vqa_accuracy(text: str, references: Sequence[str]) -> float:
    """The official accuracy of one answer."""
    answer, gold = one_line(text), [one_line(reference) for reference in references]
    if len(set(gold)) > 1:
        answer, gold = normalise(answer), [normalise(reference) for reference in gold]
    return soft_accuracy(answer, gold)


def several_references(row: Prediction) -> tuple[str, tuple[str, ...]]:
    """The row's answer and its gold answers.

    Raises:
        EvaluationError: there are fewer than two, so that leaving one out leaves nothing to compare with.
    """
    text, references = answer_and_references(row)
    if len(references) < 2:
        raise EvaluationError(
            f"{row.benchmark}, {row.language}: row {row.id!r} has one reference; soft accuracy needs several people's",
            hint="VQA has ten a question. Score single answers with `normalised-exact`.",
        )
    return text, references


def by_row(value: Callable[[str, tuple[str, ...]], float]) -> Measure:
    """A measure that averages `value` of answer and gold answers, of which there must be several."""

    def measure(rows: Sequence[Prediction], language: str) -> Statistics:
        return mean_statistics([value(*several_references(row)) for row in rows], rows)

    return measure


METRICS.add(
    "vqa-accuracy",
    Metric(
        name="vqa-accuracy",
        about="VQA's soft accuracy as the official script computes it: min(1, people who said the same / 3), one of "
        "them left out at a time; both sides normalised by English rules unless all people agree.",
        measure=by_row(vqa_accuracy),
        reduce=mean,
        tokenisation=lambda: "vqa-eval",
    ),
)
