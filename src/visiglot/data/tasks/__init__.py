"""Tasks: what a model is asked to do with an example, and what it should say.

A source says facts; a task writes the turns from them, with the templates of templates.toml, in the example's language.
Question and answer come from one example, the language that a prompt names is that of the answer, and which template an
example gets has nothing to do with what the answer is.
"""

from visiglot.data.tasks.table import TASKS, Task, TaskSource, task_problems, tasked

__all__ = ["TASKS", "Task", "TaskSource", "task_problems", "tasked"]
