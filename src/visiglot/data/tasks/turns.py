"""Tasks whose turns come from the source: conversations, and detailed captions with their instructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from visiglot.data.source import Indices, Source
from visiglot.data.tasks.choice import ChoiceName
from visiglot.data.tasks.desk import Desk
from visiglot.data.tasks.facts import FactTask
from visiglot.data.tasks.table import TASKS, Task
from visiglot.data.tasks.templates import PromptSet
from visiglot.types import Example


@dataclass(frozen=True)
class AsItIs:
    """The turns of the source."""

    desk: Desk
    by_language: Mapping[str, Indices]

    def write(self, index: int) -> Example:
        return kept(self.desk, self.desk.source[index])


@dataclass(frozen=True)
class Detail:
    """The source's turns where they instruct, else the fact "caption" with an instruction of ours."""

    desk: Desk
    by_language: Mapping[str, Indices]
    bare: FactTask

    def write(self, index: int) -> Example:
        example = self.desk.source[index]
        return kept(self.desk, example) if instructs(example) else self.bare.write(index)


def instructs(example: Example) -> bool:
    """Whether a turn of the user has words."""
    return any(message.role == "user" and message.text.strip() for message in example.messages)


def kept(desk: Desk, example: Example) -> Example:
    """The example with its own turns.

    Raises:
        DataError: its last turn isn't the assistant's.
    """
    if not example.messages or example.messages[-1].role != "assistant":
        raise desk.error(example, "has no answer to its last turn")
    return replace(example, task=desk.task)


@TASKS.register("conversation")
def conversation(*, source: Source, seed: int) -> Task:
    """The source's turns as they are."""
    return AsItIs(Desk(source, "conversation", seed), source.by_language)


@TASKS.register("detail")
def detail(*, source: Source, seed: int, prompts: PromptSet = "english", choice: ChoiceName = "rotation") -> Task:
    """A long caption after the source's own instruction; `prompts` and `choice` are for examples without one."""
    desk = Desk(source, "detail", seed, prompts, choice, own=("caption",))
    first = next((source[int(indices[0])] for indices in source.by_language.values() if len(indices)), None)
    own = first is not None and instructs(first)
    languages = source.by_language if own else desk.languages(("caption",))
    return Detail(desk, languages, FactTask(desk, languages, (), "caption"))
