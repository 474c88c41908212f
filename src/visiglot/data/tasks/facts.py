"""Tasks that give some facts of an example and ask for another one, all in one language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from visiglot.data.source import ByFact, Indices, Source
from visiglot.data.tasks.choice import ChoiceName, Places
from visiglot.data.tasks.desk import Desk
from visiglot.data.tasks.table import TASKS, Task
from visiglot.data.tasks.templates import PromptSet, fill
from visiglot.data.tasks.twins import Twinned
from visiglot.types import Example


@dataclass(frozen=True)
class FactTask:
    """A prompt with the facts in `given`, answered by the fact `asked`.

    The answer's language is the one that counts and is named, where the facts are in several. Examples whose answer is
    in a language that the source wasn't opened for are left out.

    Args:
        left_out: reason -> examples that the task can't be set for.
    """

    desk: Desk
    by_language: Mapping[str, Indices]
    given: tuple[str, ...]
    asked: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _places(self) -> Places:
        return Places(self.by_language)

    def write(self, index: int) -> Example:
        example = self.desk.source[index]
        code = self.desk.language_of(example, self.asked)
        place = self._places.find(code, index)
        if place is None:
            raise self.desk.error(
                example, f"is in {code}, for which the task has no prompts or the source wasn't opened"
            )
        templates = self.desk.templates(example, code)
        template = templates[self.desk.pick(place, len(templates), "template")]
        facts = {name: self.desk.text(example, name) for name in self.given}
        values = self.desk.values(code, facts)
        return self.desk.written(example, template, values, self.desk.text(example, self.asked), language=code)


@dataclass(frozen=True)
class Rationale:
    """A question, answered with the reason: each form of the prompt with each form of the answer equally often."""

    desk: Desk
    by_language: Mapping[str, Indices]

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self.desk.left_out

    def write(self, index: int) -> Example:
        example, place = self.desk.read(index)
        templates = self.desk.templates(example, place.language)
        forms = self.desk.words.forms(place.language)
        at, turn = self._pair(
            len(templates), len(forms), self.desk.pick(place, len(templates) * len(forms), "template")
        )
        facts = {name: self.desk.fact(example, name) for name in ("question", "answer", "rationale")}
        values = self.desk.values(place.language, facts)
        return self.desk.written(example, templates[at], values, fill(forms[turn], facts))

    @staticmethod
    def _pair(prompts: int, answers: int, number: int) -> tuple[int, int]:
        """One of all pairs by number, so that neighbours differ in both."""
        return number % prompts, (number + number // prompts) % answers


def fact_task(desk: Desk, given: Sequence[str], asked: str) -> Task:
    """The task; in a source that is a `ByFact` the facts of an example may be in several languages."""
    if not isinstance(desk.source, ByFact):
        needs = (*given, asked)
        return FactTask(desk, replace(desk, own=needs).languages(needs), tuple(given), asked)
    by_answer = desk.source.by_language_of(asked)
    found = desk.languages((), within=by_answer)
    for indices in list(found.values())[:1]:
        example = desk.source[int(indices[0])]
        for name in (*given, asked):
            desk.text(example, name)
    own, answers = (sum(map(len, some.values())) for some in (desk.source.by_language, by_answer))
    left_out = {f"the {asked} is in a language that isn't asked for": own - answers} if own > answers else {}
    return FactTask(desk, found, tuple(given), asked, left_out)


@TASKS.register("caption")
def caption(*, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation") -> Task:
    """The picture's caption."""
    return fact_task(Desk(source, "caption", seed, prompts, choice), (), "caption")


@TASKS.register("vqa")
def vqa(*, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation") -> Task:
    """A question, answered in a word or two."""
    return fact_task(Desk(source, "vqa", seed, prompts, choice), ("question",), "answer")


@TASKS.register("vqg")
def vqg(*, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation") -> Task:
    """The question to an answer; the language that is named is the question's."""
    return fact_task(Desk(source, "vqg", seed, prompts, choice), ("answer",), "question")


@TASKS.register("explanation")
def explanation(*, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation") -> Task:
    """The reason for the answer to a question."""
    return fact_task(Desk(source, "explanation", seed, prompts, choice), ("question", "answer"), "rationale")


@TASKS.register("rationale")
def rationale(*, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation") -> Task:
    """A question, answered with the reason, in as many forms as there are of either."""
    needs = ("question", "answer", "rationale")
    desk = Desk(source, "rationale", seed, prompts, choice, own=needs)
    return Rationale(desk, desk.languages(needs))


@TASKS.register("imagenet-name")
def imagenet_name(
    *, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation"
) -> Task:
    """The name of what is shown."""
    return fact_task(Desk(source, "imagenet-name", seed, prompts, choice), (), "label")


@TASKS.register("mvqa")
def mvqa(
    *,
    source: Source,
    seed: int,
    prompts: PromptSet = "english",
    choice: ChoiceName = "rotation",
    twins: bool = False,
) -> Task:
    """LRM-LLaVA's MVQA: question and answer in one language, the answer of any length.

    With `twins`, each translated question comes with the same in English, for an objective that compares the two.
    """
    task = fact_task(Desk(source, "mvqa", seed, prompts, choice), ("question",), "answer")
    return Twinned(task, Desk(source, "bvqa", seed)) if twins else task
