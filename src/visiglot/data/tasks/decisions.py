"""Tasks that are answered by yes or no.

Where the task itself makes an example true or false, exactly half of a language's are true, to one; neither the
source's order nor the prompt's form says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from visiglot.data.captions import normal_form
from visiglot.data.source import Indices, Source
from visiglot.data.tasks.choice import ChoiceName, Halves, Place, offsets, pick
from visiglot.data.tasks.desk import Desk
from visiglot.data.tasks.negatives import Negatives, open_ranked
from visiglot.data.tasks.table import TASKS, Task
from visiglot.data.tasks.templates import PromptSet
from visiglot.languages import ENGLISH
from visiglot.languages import language as find_language
from visiglot.types import Example

AnswerLanguage = Literal["own", "english"]

AnswerForm = Literal["word", "sentence"]

Share = Annotated[float, Field(ge=0, le=1)]

TRUE, FALSE = frozenset({"true", "yes"}), frozenset({"false", "no"})
"""How English sources write a truth value."""


def has_words(code: str) -> bool:
    """Whether the table of languages has a language's words for yes and no."""
    return {"yes", "no"} <= find_language(code).literals.keys()


@dataclass(frozen=True)
class Bench:
    """A desk for decisions.

    Args:
        answers: in the language of what is judged (languages without words for yes and no are left out), or in English.
        form: of the answer: the word alone, or a sentence in languages that templates.toml has some for.
    """

    desk: Desk
    answers: AnswerLanguage
    form: AnswerForm

    def language_of(self, code: str) -> str:
        """The language in which what is said in another one is judged."""
        return ENGLISH if self.answers == "english" else code

    def languages(self, *needs: str) -> dict[str, Indices]:
        """The source's languages that can be asked about, by the language of what is judged."""

        def usable(code: str) -> bool:
            answer = self.language_of(code)
            return has_words(answer) and self.desk.has_prompts(answer)

        return self.desk.languages(needs, usable)

    def by_answer(self, languages: Mapping[str, Indices]) -> Mapping[str, Indices]:
        """`languages` by the language of the answer."""
        if self.answers == "own" or not languages:
            return languages
        return {ENGLISH: np.sort(np.concatenate(list(languages.values())))}

    def written(self, example: Example, place: Place, facts: Mapping[str, str], yes: bool, offset: int = 0) -> Example:
        """The example with a prompt about `facts` and the answer.

        Args:
            place: among the examples that the choice of a template goes round.
            offset: of the rotation.
        """
        code = self.language_of(example.language)
        templates = self.desk.templates(example, code)
        values = self.desk.values(code, facts)
        forms = self.desk.words.sentences(code, yes) if self.form == "sentence" else ()
        forms = forms or (values["yes" if yes else "no"],)
        template = templates[self._pick(place, len(templates), "template", offset)]
        answer = forms[self._pick(place, len(forms), "answer", offset)]
        return self.desk.written(example, template, values, answer, language=code)

    def _pick(self, place: Place, count: int, what: str, offset: int) -> int:
        return pick(count, place.rank, place.size, self.desk.choice, self.desk.key(place.language, what), offset)


@dataclass(frozen=True)
class Decision:
    """Is the fact right of the picture? In half of the examples it is another example's."""

    bench: Bench
    negatives: Negatives
    asked: Mapping[str, Indices]

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self.bench.desk.left_out

    @cached_property
    def by_language(self) -> Mapping[str, Indices]:
        return self.bench.by_answer(self.asked)

    @cached_property
    def halves(self) -> Halves:
        return Halves(self.bench.desk.key("halves"))

    @cached_property
    def _offsets(self) -> Mapping[tuple[str, bool], int]:
        """Where each half's rotation of templates begins, so that they are even within a half and over all."""
        return offsets(
            ((code, yes), self.bench.language_of(code), self.halves.count(len(indices), yes))
            for code, indices in self.asked.items()
            for yes in (True, False)
        )

    def write(self, index: int) -> Example:
        desk, fact = self.bench.desk, self.negatives.fact
        example, place = desk.read(index)
        if place.language not in self.asked:
            raise desk.error(example, f"is in {place.language}, which has no words for yes and no")
        yes = self.halves.side(place)
        shown = example if yes else self.negatives.find(index, example, place)
        half = Place(f"{place.language} {yes}", place.rank // 2, self.halves.count(place.size, yes))
        facts = {fact: desk.fact(shown, fact)}
        return self.bench.written(example, half, facts, yes, self._offsets[place.language, yes])


@dataclass(frozen=True)
class Judgement:
    """Is a statement right of the pictures? The source says it."""

    bench: Bench
    asked: Mapping[str, Indices]
    pictures: int

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self.bench.desk.left_out

    @cached_property
    def by_language(self) -> Mapping[str, Indices]:
        return self.bench.by_answer(self.asked)

    def write(self, index: int) -> Example:
        desk = self.bench.desk
        example, place = desk.read(index)
        if place.language not in self.asked:
            raise desk.error(example, f"is in {place.language}, which has no words for yes and no")
        if len(example.images) != self.pictures:
            raise desk.error(example, f"has {len(example.images)} pictures, the task is about {self.pictures}")
        said = normal_form(desk.text(example, "answer"))
        own = find_language(example.language).literals
        yes = said in TRUE or said == normal_form(own.get("yes", "yes"))
        if not yes and said not in FALSE and said != normal_form(own.get("no", "no")):
            raise desk.error(example, f"has the answer {example.facts['answer']!r}, which is neither true nor false")
        return self.bench.written(example, place, {"statement": desk.fact(example, "statement")}, yes)


@TASKS.register("matching")
def matching(
    *,
    source: Source,
    seed: int,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    answers: AnswerLanguage = "own",
    form: AnswerForm = "word",
    negatives: str | None = None,
    random_share: Share = 1 / 6,
) -> Task:
    """Whether a caption is the picture's.

    `negatives` is a folder that `visiglot data mine` made for this source; `random_share` of the wrong captions are
    random all the same, or all where there is no folder.
    """
    bench = Bench(Desk(source, "matching", seed, prompts, choice, own=("caption",)), answers, form)
    hard = None if negatives is None else open_ranked(Path(negatives).expanduser(), source)
    languages = bench.languages("caption")
    return Decision(bench, Negatives(bench.desk, "caption", hard=hard, random_share=random_share), languages)


@TASKS.register("imagenet-decide")
def imagenet_decide(
    *,
    source: Source,
    seed: int,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    answers: AnswerLanguage = "own",
    form: AnswerForm = "word",
) -> Task:
    """Whether a name is that of what is shown; a wrong one is that of another class and differs from the right one."""
    bench = Bench(Desk(source, "imagenet-decide", seed, prompts, choice, own=("label",)), answers, form)
    return Decision(bench, Negatives(bench.desk, "label", same=("class",)), bench.languages("label"))


@TASKS.register("nlvr2")
def nlvr2(
    *,
    source: Source,
    seed: int,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    answers: AnswerLanguage = "own",
    form: AnswerForm = "word",
) -> Task:
    """Whether a statement is true of two pictures."""
    bench = Bench(Desk(source, "nlvr2", seed, prompts, choice, own=("statement",)), answers, form)
    return Judgement(bench, bench.languages("statement", "answer"), pictures=2)
