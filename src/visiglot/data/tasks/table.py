"""The table of tasks, and a source as a task rewrites it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from visiglot.data.source import Indices, LeavesOut, Source, factory_problems
from visiglot.errors import ConfigError
from visiglot.registry import Registry
from visiglot.types import Example


class Task(Protocol):
    """A task at work on a source. One that can't be set for some examples is a `LeavesOut`."""

    @property
    def by_language(self) -> Mapping[str, Indices]:
        """FLORES-200 code of the answer -> numbers of the source's examples [n]; languages that the task lacks words
        for aren't in it."""

    def write(self, index: int) -> Example:
        """The source's example `index` as the task has it.

        Raises:
            DataError: the example lacks a fact, or isn't in `by_language`.
        """


TASKS: Registry[Callable[..., Task]] = Registry(
    "task",
    modules=(
        "visiglot.data.tasks.turns",
        "visiglot.data.tasks.facts",
        "visiglot.data.tasks.decisions",
        "visiglot.data.tasks.bilingual",
        "visiglot.data.tasks.formats",
        "visiglot.data.tasks.prompted",
    ),
)
"""name -> factory(source=..., seed=..., **options) -> Task. Options are checked against its annotations."""


def tasked(source: Source, task: str, options: Mapping[str, Any], seed: int) -> TaskSource:
    """A source as a task rewrites it.

    Args:
        task: a name in the table.
        options: what its factory takes besides.
        seed: of the choice of templates, sides and negatives.

    Raises:
        UnknownNameError: no such task.
        ConfigError: options that it doesn't take, or that are of another kind.
        DataError: the source lacks a fact that the task needs, or the task has no words in any of its languages.
    """
    problems = task_problems(task, options)
    if problems:
        raise ConfigError(f"task {task} on {source.name}", problems)
    return TaskSource(source, task, options, seed)


def task_problems(task: str, options: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options of a task, a line each; no data is opened.

    Raises:
        UnknownNameError: no such task.
    """
    return factory_problems(TASKS.get(task), options, given=("source", "seed"), where="task_options")


class TaskSource:
    """The examples of a source as a task writes them: example i is a pure function of source, options, seed and i.

    Numbers are the source's. Only those in `by_language` can be had.
    """

    def __init__(self, source: Source, task_name: str, options: Mapping[str, Any], seed: int) -> None:
        self.source = self.raw = source
        self.task_name = task_name
        self.name = f"{source.name}/{task_name}"
        self.task = TASKS.get(task_name)(source=source, seed=seed, **options)
        self.by_language: Mapping[str, Indices] = self.task.by_language
        both = [one.left_out for one in (source, self.task) if isinstance(one, LeavesOut)]
        self.left_out = {reason: count for counts in both for reason, count in counts.items()}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no number {index}")
        return self.task.write(index)
