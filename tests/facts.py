"""A source of facts in memory, for tests of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visiglot.data.source import Indices
from visiglot.languages import ENGLISH
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

LANGUAGES = (ENGLISH, "deu_Latn", "zho_Hans", "swh_Latn", "ibo_Latn")
"""With prompts and words of their own, with words for yes and no alone (Swahili), and with none (Igbo)."""


class Facts:
    """Examples of given facts.

    Args:
        rows: language and facts of each example.
        pictures: how many each example has; those of different examples differ.
        same_picture: number of an example -> name of its picture, where several share one.
    """

    def __init__(
        self,
        rows: Sequence[tuple[str, Mapping[str, str]]],
        *,
        name: str = "facts",
        pictures: int = 1,
        same_picture: Mapping[int, str] | None = None,
        languages: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.rows = list(rows)
        self.pictures = pictures
        self.same_picture = dict(same_picture or {})
        codes = np.array([code for code, _ in rows])
        self.by_language: Mapping[str, Indices] = {
            str(code): np.flatnonzero(codes == code).astype(np.int32)
            for code in dict.fromkeys(codes.tolist())
            if languages is None or code in languages
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        code, facts = self.rows[index]
        names = [self.same_picture.get(index, f"{index}-{n}.jpg") for n in range(self.pictures)]
        slots = tuple(ImageSlot(n) for n in range(self.pictures))
        answer = facts.get("answer") or facts.get("caption") or facts.get("label") or "what is said"
        return Example(
            f"{self.name}/{index}",
            (Message("user", (*slots, "as the source asks")), Message("assistant", (answer,))),
            code,
            tuple(ImageRef(name, path=Path("/pictures") / name) for name in names),
            references=(answer,),
            provenance=Provenance(self.name, "CC0-1.0"),
            task="raw",
            facts=dict(facts),
        )


def every_fact(languages: Sequence[str] = LANGUAGES, count: int = 101, **options: object) -> Facts:
    """A source that every task can use: `count` examples in each language, languages in turn.

    Facts name their language and number, so that what belongs together can be told: "deu_Latn question 7?".
    """
    rows = []
    for number in range(count):
        for code in languages:
            own = {
                name: f"{code} {name} {number}" for name in ("caption", "question", "answer", "rationale", "statement")
            }
            facts = {**own, "question": f"{own['question']}?", "label": f"{code} thing {number % 7}"}
            if code != ENGLISH:
                facts |= {"source.question": f"source question {number}?", "source.answer": f"source answer {number}"}
            rows.append((code, facts))
    return Facts(rows, **options)  # type: ignore[arg-type]


def with_answers(source: Facts, answers: Sequence[str]) -> Facts:
    """`source` with other answers, in turn."""
    source.rows = [
        (code, {**facts, "answer": answers[n % len(answers)]}) for n, (code, facts) in enumerate(source.rows)
    ]
    return source


def prompt_of(example: Example) -> str:
    """All words of the user."""
    return " ".join(message.text for message in example.messages if message.role == "user")


def answer_of(example: Example) -> str:
    return example.messages[-1].text
