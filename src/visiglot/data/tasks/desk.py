"""What all tasks write with: the facts of an example, the words for a language, the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from visiglot.data.source import ByFact, Indices, Source
from visiglot.data.tasks.choice import ChoiceName, Place, Places, key_of, pick
from visiglot.data.tasks.templates import PromptSet, Templates, fill_prompt, load_templates
from visiglot.data.tasks.views import View
from visiglot.errors import DataError
from visiglot.languages import language as find_language
from visiglot.types import Example, Message


@dataclass(frozen=True)
class Desk:
    """A task's place of work.

    Args:
        source: what is rewritten.
        task: its name in the table.
        seed: of all that is chosen.
        prompts: in English, in the question's language itself (languages without such words are left out), or both.
        choice: of templates.
        own: facts that must be in an example's own language. Examples are left out in which one stayed in another, as
            far as the source is a `ByFact`.
    """

    source: Source
    task: str
    seed: int
    prompts: PromptSet = "english"
    choice: ChoiceName = "rotation"
    own: tuple[str, ...] = ()

    @property
    def words(self) -> Templates:
        return load_templates()[self.task]

    @property
    def by_language(self) -> Mapping[str, Indices]:
        """The source's, without what is left out."""
        return self._selected[0]

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self._selected[1]

    @cached_property
    def _selected(self) -> tuple[Mapping[str, Indices], Mapping[str, int]]:
        found = self.source.by_language
        left_out = dict(self.source.left_out) if isinstance(self.source, View) else {}
        if isinstance(self.source, ByFact):
            for name in self.own:
                said, before = self.source.by_language_of(name), _total(found)
                if said is not self.source.by_language:
                    found = {code: own[np.isin(own, said.get(code, own[:0]))] for code, own in found.items()}
                if count := before - _total(found):
                    left_out[f"the {name} stayed in another language"] = count
        return found, left_out

    @cached_property
    def places(self) -> Places:
        return Places(self.by_language)

    def has_prompts(self, code: str) -> bool:
        """Whether there are prompts for a question in a language."""
        return bool(self.words.prompts(code, self.prompts))

    def templates(self, example: Example, code: str) -> Sequence[str]:
        """The prompts for a question in a language. Raises DataError: there are none."""
        found = self.words.prompts(code, self.prompts)
        if not found:
            raise self.error(example, f"the task has no prompts in {code} (prompts: {self.prompts})")
        return found

    def languages(
        self,
        needs: Sequence[str],
        usable: Callable[[str], bool] | None = None,
        *,
        within: Mapping[str, Indices] | None = None,
    ) -> dict[str, Indices]:
        """The source's languages that the task can be set in.

        Args:
            needs: facts that each example must have; the first one is looked at.
            usable: whether the task can be set in a language; default: whether there are prompts.
            within: the examples by language; default: the desk's.

        Raises:
            DataError: a fact is missing, or no language is left.
        """
        usable = usable or self.has_prompts
        within = self.by_language if within is None else within
        found = {code: indices for code, indices in within.items() if len(indices)}
        left = {code: indices for code, indices in found.items() if usable(code)}
        if found and not left:
            raise DataError(
                f"{self.source.name}: task {self.task} can't be set in {', '.join(found)}, which is all there is",
                hint="docs/data.md says which languages each task has words for, and which tasks need translations.",
            )
        if self.left_out and not found:
            said = ", ".join(f"{count:,}: {reason}" for reason, count in self.left_out.items())
            raise DataError(
                f"{self.source.name}: task {self.task} can't be set for any example ({said})",
                hint="Translate the source with --labels reject, or take a task that asks in another language, as vqa "
                "and imagenet-name do.",
            )
        for indices in list(left.values())[:1]:
            example = self.source[int(indices[0])]
            for name in needs:
                (self.fact if name in self.own else self.text)(example, name)
        return left

    def read(self, index: int) -> tuple[Example, Place]:
        """The source's example `index` and its place.

        Raises:
            DataError: it isn't among those of the languages that were asked for, or a fact is in another language.
        """
        example = self.source[index]
        place = self.places.find(example.language, index)
        if place is None:
            for name in self.own:
                self.fact(example, name)
            raise self.error(example, f"is in {example.language}, which the source wasn't opened for")
        return example, place

    def fact(self, example: Example, name: str) -> str:
        """A fact, in the example's language.

        Raises:
            DataError: the example lacks it, it is empty, or it says that it is in another language.
        """
        text = self.text(example, name)
        said = self.language_of(example, name)
        if said != example.language:
            raise self.error(example, f"is in {example.language}, but its {name} is in {said}")
        return text

    def text(self, example: Example, name: str) -> str:
        """A fact, in whatever language. Raises DataError: the example lacks it, or it is empty."""
        text = example.facts.get(name, "").strip()
        if not text:
            known = ", ".join(example.facts) or "no facts"
            raise self.error(example, f"has no fact {name!r}, which the task needs; it has {known}")
        return text

    def language_of(self, example: Example, name: str) -> str:
        """The language of a fact."""
        return example.facts.get(f"{name}.language", example.language)

    def pick(self, place: Place, count: int, *what: object) -> int:
        """One of `count` things for an example, by its place among those of its language; `what` names the choice."""
        return pick(count, place.rank, place.size, self.choice, self.key(place.language, *what))

    def key(self, *what: object) -> int:
        """64 bits of the seed, the task and `what`."""
        return key_of(self.seed, self.task, *what)

    def values(self, answer_language: str, facts: Mapping[str, str]) -> dict[str, str]:
        """The fields of a prompt: facts, the language's English name, its words for yes and no if there are any."""
        row = find_language(answer_language)
        decided = {word: row.literals[word] for word in ("yes", "no") if word in row.literals}
        return {**decided, **facts, "language": row.name}

    def written(
        self, example: Example, template: str, values: Mapping[str, str], answer: str, *, language: str | None = None
    ) -> Example:
        """The example with a prompt and an answer instead of its turns.

        Args:
            language: of the answer, where it isn't the example's.
        """
        return replace(
            example,
            messages=(
                Message("user", fill_prompt(template, values, len(example.images))),
                Message("assistant", (answer,)),
            ),
            language=language or example.language,
            references=example.references if answer in example.references else (answer,),
            task=self.task,
        )

    def error(self, example: Example, what: str) -> DataError:
        return DataError(
            f"{self.source.name}, example {example.id}, task {self.task}: {what}",
            hint="Take another task or another source; docs/data.md lists the facts that each task needs.",
        )


def _total(by_language: Mapping[str, Indices]) -> int:
    return sum(map(len, by_language.values()))
