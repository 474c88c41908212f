"""Tasks between a language and English, on translated examples: LRM-LLaVA's EP-VQA and BVQA (AAAI 2025).

A translated example keeps the English originals as the facts "source.question" and "source.answer". Parallel examples
that don't are paired by their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from visiglot.data.source import Indices, Source
from visiglot.data.tasks.choice import ChoiceName, Halves, Place, offsets, pick
from visiglot.data.tasks.desk import Desk
from visiglot.data.tasks.pivot import pivot_target, plain_question
from visiglot.data.tasks.table import TASKS, Task
from visiglot.data.tasks.templates import PromptSet
from visiglot.data.tasks.views import Paired
from visiglot.languages import ENGLISH
from visiglot.types import Example

NEEDS = ("question", "answer")
"""Facts that must be in an example's own language: between English and English there is nothing to learn."""


Pairs = Literal["facts", "id"]
"""Where the English of an example is: in its own facts "source.…", or in the example in English that has its id."""


def original(desk: Desk, example: Example, name: str) -> str:
    """A fact before its translation, in English. What has no letters (numbers, formulas) is the same in both.

    Raises:
        DataError: the example isn't translated, or not from English.
    """
    if f"source.{name}" not in example.facts:
        text = desk.fact(example, name)
        if not any(character.isalpha() for character in text):
            return text
    said = example.facts.get("source.language", ENGLISH)
    if said != ENGLISH:
        raise desk.error(example, f"was translated from {said}, not from {ENGLISH}")
    text = example.facts.get(f"source.{name}", "").strip()
    if not text:
        raise desk.error(example, f"has no fact 'source.{name}', which the task needs: it isn't translated")
    return text


def translated(desk: Desk, *originals: str) -> dict[str, Indices]:
    """The source's languages but English, whose first example must have both languages.

    Raises:
        DataError: a fact is missing, or everything is English.
    """
    languages = desk.languages(NEEDS, lambda code: code != ENGLISH and desk.has_prompts(code))
    for indices in list(languages.values())[:1]:
        for name in originals:
            original(desk, desk.source[int(indices[0])], name)
    return languages


@dataclass(frozen=True)
class Pivot:
    """EP-VQA: a question in a language; first its English wording, then the answer in the language.

    Args:
        mask_translation: the English wording is read and not learned; what divides it from the answer is.
    """

    desk: Desk
    by_language: Mapping[str, Indices]
    mask_translation: bool = False

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self.desk.left_out

    def write(self, index: int) -> Example:
        example, place = self.desk.read(index)
        english = original(self.desk, example, "question")
        templates = self.desk.templates(example, place.language)
        template = templates[self.desk.pick(place, len(templates), "template")]
        values = self.desk.values(place.language, {"question": self.desk.fact(example, "question")})
        target = pivot_target(english, self.desk.fact(example, "answer"))
        written = self.desk.written(example, template, values, target)
        if not self.mask_translation:
            return written
        *asked, answer = written.messages
        return replace(written, messages=(*asked, replace(answer, unlearned=len(plain_question(english)))))


@dataclass(frozen=True)
class Bilingual:
    """BVQA: question in a language and answer in English, or the other way round, half of each language each way."""

    desk: Desk
    translations: Mapping[str, Indices]

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self.desk.left_out

    @cached_property
    def halves(self) -> Halves:
        return Halves(self.desk.key("halves"))

    @cached_property
    def by_language(self) -> Mapping[str, Indices]:
        """By the language of the answer, which follows from an example's place alone."""
        found: dict[str, Indices] = {}
        english = []
        for code, indices in self.translations.items():
            to_english = self.halves.sides(len(indices))
            english.append(indices[to_english])
            if not to_english.all():
                found[code] = indices[~to_english]
        joined = np.sort(np.concatenate(english)) if english else np.zeros(0, dtype=np.int32)
        return {ENGLISH: joined, **found} if len(joined) else found

    @cached_property
    def _offsets(self) -> Mapping[tuple[str, bool], int]:
        """Where each part's rotation of templates begins, so that they are even over all answers of a language."""
        return offsets(
            ((code, to_english), ENGLISH if to_english else code, self.halves.count(len(indices), to_english))
            for code, indices in self.translations.items()
            for to_english in (True, False)
        )

    def write(self, index: int) -> Example:
        desk = self.desk
        example, place = desk.read(index)
        if place.language not in self.translations:
            raise desk.error(example, f"is in {place.language}, and has no other language beside it")
        to_english = self.halves.side(place)
        if to_english:
            asked, answered = place.language, ENGLISH
            question, answer = desk.fact(example, "question"), original(desk, example, "answer")
        else:
            asked, answered = ENGLISH, place.language
            question, answer = original(desk, example, "question"), desk.fact(example, "answer")
        templates = desk.templates(example, asked)
        at = self._pick(place, to_english, len(templates))
        values = desk.values(answered, {"question": question})
        return desk.written(example, templates[at], values, answer, language=answered)

    def _pick(self, place: Place, to_english: bool, count: int) -> int:
        size, code = self.halves.count(place.size, to_english), place.language
        key = self.desk.key(code, to_english, "template")
        return pick(count, place.rank // 2, size, self.desk.choice, key, self._offsets[code, to_english])


@TASKS.register("ep-vqa")
def ep_vqa(
    *,
    source: Source,
    seed: int,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    pairs: Pairs = "facts",
    mask_translation: bool = False,
) -> Task:
    """LRM-LLaVA's EP-VQA: the question is turned into English first, then answered in its own language.

    The paper's loss is over the whole target; `mask_translation` takes the English question out of it.
    """
    desk = Desk(with_originals(source, pairs), "ep-vqa", seed, prompts, choice, NEEDS)
    return Pivot(desk, translated(desk, "question"), mask_translation)


@TASKS.register("bvqa")
def bvqa(
    *,
    source: Source,
    seed: int,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    pairs: Pairs = "facts",
) -> Task:
    """LRM-LLaVA's BVQA: question in one language, answer in another, one of them English."""
    desk = Desk(with_originals(source, pairs), "bvqa", seed, prompts, choice, NEEDS)
    return Bilingual(desk, translated(desk, "question", "answer"))


def with_originals(source: Source, pairs: Pairs) -> Source:
    """The source with the English of its examples in their facts. Raises DataError: none can be paired."""
    return Paired(source) if pairs == "id" else source
