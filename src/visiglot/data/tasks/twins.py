"""The same picture and the same answer under a question in another language: what a regulariser compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from visiglot.data.source import Indices, LeavesOut
from visiglot.data.tasks.bilingual import original
from visiglot.data.tasks.desk import Desk
from visiglot.data.tasks.table import Task
from visiglot.languages import ENGLISH
from visiglot.types import Example


@dataclass(frozen=True)
class Twinned:
    """A task whose examples with a question that isn't English have a twin: asked in English, answered the same.

    Args:
        desk: with the words of BVQA, which asks in English for an answer in another language.
    """

    task: Task
    desk: Desk

    @property
    def by_language(self) -> Mapping[str, Indices]:
        return self.task.by_language

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> examples that the task can't be set for."""
        return self.task.left_out if isinstance(self.task, LeavesOut) else {}

    def write(self, index: int) -> Example:
        raw, example = self.desk.source[index], self.task.write(index)
        if raw.language == ENGLISH:
            return example
        templates = self.desk.words.prompts(ENGLISH, "english")
        template = templates[self.desk.key(raw.id, "twin") % len(templates)]
        values = self.desk.values(example.language, {"question": original(self.desk, raw, "question")})
        asked = self.desk.written(raw, template, values, example.messages[-1].text, language=example.language)
        return replace(example, twin=replace(asked, id=f"{example.id}/twin", task=example.task))
