"""An answer with its question in English before it: what LRM-LLaVA's EP-VQA teaches, made and taken apart."""

from __future__ import annotations

from dataclasses import dataclass

PIVOT = "||"
"""Stands between the English question and the answer. It is ASCII, since a line break is a space to some tokenizers."""


@dataclass(frozen=True, slots=True)
class PivotAnswer:
    """What a model that answers with a pivot has said.

    Args:
        answer: what is shown and scored; never empty where anything was said.
        translation: the question in English; None where the text isn't of the form, and `answer` is all of it.
    """

    answer: str
    translation: str | None


def pivot_target(question: str, answer: str) -> str:
    """An English question and an answer as EP-VQA's target, which `parse_pivot` takes apart again.

    The question's white space becomes single spaces, and a PIVOT in it a single bar.
    """
    return f"{plain_question(question)} {PIVOT} {answer.strip()}"


def plain_question(question: str) -> str:
    """The English question as it stands in a target: without line breaks, and without anything like a PIVOT."""
    plain = " ".join(question.split())
    while PIVOT in plain:
        plain = plain.replace(PIVOT, "|")
    return plain.rstrip("|").rstrip()


def parse_pivot(text: str) -> tuple[str, str] | None:
    """(English question, answer) of an EP-VQA target, or of what a model says; None where it isn't both."""
    question, pivot, answer = (part.strip() for part in text.partition(PIVOT))
    return (question, answer) if pivot and question and answer else None


def read_pivot(text: str) -> PivotAnswer:
    """What is shown and scored of an answer.

    A text without both parts is taken as it is, so that a model that forgets the form, or stops at the pivot, is judged
    by what it said. A pivot that begins or ends the text goes, unless there is nothing else.
    """
    parts = parse_pivot(text)
    if parts is not None:
        return PivotAnswer(answer=parts[1], translation=parts[0])
    said = text.strip()
    return PivotAnswer(said.removeprefix(PIVOT).removesuffix(PIVOT).strip() or said, None)


def shown_part(text: str, *, last: bool) -> tuple[int, int]:
    """Beginning and end in `text`, an answer that is still being said, of what is shown of it for certain.

    Nothing before the pivot has passed and something stands behind it; with `last`, what `read_pivot` shows.
    """
    question, pivot, behind = text.partition(PIVOT)
    if pivot and question.strip() and behind.strip():
        return len(text) - len(behind.lstrip()), len(text.rstrip())
    if not last:
        return 0, 0
    shown = read_pivot(text).answer
    start = text.find(shown)
    return start, start + len(shown)
