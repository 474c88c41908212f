"""MMMU's accuracy, of questions with options and of those that ask for a number or words (Yue et al., 2023).

Three ways. `mmmu-accuracy` reads answers as MMMU's own `parse_multi_choice_response`, `parse_open_response` and
`eval_open` do (eval/eval_utils.py, commit bb91f23). `mmmu-accuracy-pangea` looks for letters as Pangea's branch of
lmms-eval does, with which xMMMU's published numbers were made: any capital with a space behind it counts, so that
"PANDA is" has an A. `mmmu-accuracy-strict` finds letters as `choice-accuracy` does. All three read questions without
options alike, by MMMU's rules.

Where no letter is found, MMMU draws one at random; here the answer is wrong, as in all of this project's accuracies, so
that a number neither depends on a seed nor has luck in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from visiglot.evaluate.metrics import METRICS, Metric, always, answer_and_references, mean, of_each_row
from visiglot.evaluate.metrics.chance import chance_of
from visiglot.evaluate.metrics.choice import Reader
from visiglot.evaluate.metrics.letters import LETTERS, extract_letter, gold_letter, options_of
from visiglot.evaluate.metrics.m4u import BRACKETED, SPACED, last_letter
from visiglot.types import Prediction

INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
"""What an answer in words may stand behind; in the last line an equals sign too."""
SIGNS = (":", ",", ".", "!", "?", ";", "'")
"""Answers that are no answer."""
NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
"""Numbers with commas between thousands, with an exponent, and plain ones."""

Value = str | float


def values_of(text: str) -> list[Value]:
    """MMMU's `normalize_str`: a number to two decimals; a letter with a space before it and one with a space behind it,
    so that it doesn't equal a part of a word; any other text in lower case."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def open_values(text: str) -> set[Value]:
    """MMMU's `parse_open_response`: what stands behind the indicators in each line, or all of it, and every number in
    that. (It means to part sentences too, but looks for capitals in lower case.)"""
    text = text.strip().strip(".").lower()
    lines = text.split("\n")
    tails = [_shortest_tail(line, last=place == len(lines) - 1) for place, line in enumerate(lines)]
    found = [tail for tail in tails if tail and tail not in SIGNS] or [text]
    numbers = [number for tail in found for pattern in NUMBERS for number in pattern.findall(tail)]
    return {value for one in (*found, *numbers) for value in values_of(one)}


def _shortest_tail(line: str, *, last: bool) -> str:
    """The shortest text behind the last place of an indicator, the first of equals; "" where there is none."""
    tail = ""
    for indicator in (*INDICATORS, *(("=",) if last else ())):
        if indicator in line:
            other = line.rpartition(indicator)[2].strip()
            tail = other if not tail or len(other) < len(tail) else tail
    return tail


def is_open_right(text: str, references: Iterable[str]) -> bool:
    """MMMU's `eval_open`: a reference's text stands in one of the answer's texts, or its number equals one of them."""
    gold = [value for reference in references for value in values_of(reference)]
    words = [value for value in gold if isinstance(value, str)]
    numbers = [value for value in gold if isinstance(value, float)]
    return any(
        any(word in value for word in words) if isinstance(value, str) else value in numbers
        for value in open_values(text)
    )


def mmmu_letter(text: str, options: tuple[str, ...], language: str) -> str | None:
    """MMMU's `parse_multi_choice_response` without its draw: in brackets, else between spaces."""
    return last_letter(text, dict(zip(LETTERS, options)), (BRACKETED, SPACED))


def pangea_letter(text: str, options: tuple[str, ...], language: str) -> str | None:
    """The same in Pangea's branch of lmms-eval: in brackets, else with a space behind it, else with a stop."""
    return last_letter(text, dict(zip(LETTERS, options)), (BRACKETED, "{} ", "{}."))


def is_right(row: Prediction, language: str, read: Reader) -> bool:
    text, references = answer_and_references(row)
    if not row.choices:
        return is_open_right(text, references)
    return read(text, options_of(row), language) == gold_letter(row)


def chance(row: Prediction, language: str = "") -> float:
    """What guessing among the options gives; nothing where there are none."""
    return chance_of(row) if row.choices else 0.0


READERS: dict[str, tuple[Reader, str, str]] = {
    "": (mmmu_letter, "mmmu-2023", "by MMMU's own parser"),
    "-pangea": (pangea_letter, "pangea-2024", "letters found as in Pangea's branch of lmms-eval"),
    "-strict": (extract_letter, "letters-1", "letters found in every script, numbers and words as MMMU does"),
}
"""Ending of a metric's name -> how it finds letters, the tokenisation's name, and that in words."""

for ending, (reader, tokens, how) in READERS.items():
    METRICS.add(
        f"mmmu-accuracy{ending}",
        Metric(
            name=f"mmmu-accuracy{ending}",
            about=f"MMMU's accuracy, {how}; an answer without a letter is wrong, never a draw.",
            measure=of_each_row(partial(is_right, read=reader)),
            reduce=mean,
            tokenisation=always(tokens),
        ),
    )
METRICS.add(
    "mmmu-chance",
    Metric(
        name="mmmu-chance",
        about="Share of right answers that guessing among the options gives, nothing where there are none.",
        measure=of_each_row(chance),
        reduce=mean,
        tokenisation=lambda: "none",
        of_questions=True,
    ),
)
