"""A task whose words the recipe writes: fine-tuning asks as the benchmark that follows it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from visiglot.data.source import Indices, Source
from visiglot.data.tasks.desk import Desk
from visiglot.data.tasks.table import TASKS, Task
from visiglot.data.tasks.templates import fields_of, fill
from visiglot.languages import language as find_language
from visiglot.types import Example, ImageSlot, Message

_WORDS = frozenset({"yes", "no"})
"""Fields that are words of the answer's language."""


@dataclass(frozen=True)
class Prompted:
    """One prompt for all examples, answered by the fact `asked`."""

    desk: Desk
    by_language: Mapping[str, Indices]
    prompt: str
    given: tuple[str, ...]
    asked: str

    def write(self, index: int) -> Example:
        example, place = self.desk.read(index)
        facts = {name: self.desk.fact(example, name) for name in self.given}
        values = self.desk.values(place.language, facts)
        written = self.desk.written(example, self.prompt, values, self.desk.fact(example, self.asked))
        if "image" in fields_of(self.prompt):
            return written
        slots = (ImageSlot(number) for number in range(len(example.images)))
        user = Message("user", (*slots, fill(self.prompt, values)))  # as benchmarks ask, a space at the end included
        return replace(written, messages=(user, *written.messages[1:]))


@TASKS.register("prompted")
def prompted(*, source: Source, seed: int, prompt: str = "{question}", answer: str = "answer") -> Task:
    """The recipe's own `prompt`, with facts, {language}, {yes} and {no} filled in; the fact `answer` answers it."""
    fields = fields_of(prompt)
    given = tuple(sorted(fields - _WORDS - {"image", "language"}))
    desk = Desk(source, "prompted", seed, own=(*given, answer))

    def usable(code: str) -> bool:
        return (fields & _WORDS) <= find_language(code).literals.keys()

    return Prompted(desk, desk.languages((*given, answer), usable), prompt, given, answer)
