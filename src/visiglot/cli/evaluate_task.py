"""What `visiglot evaluate` is asked to generate, and what it would come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiglot.cli.asked import Asked
from visiglot.errors import EvaluationError

if TYPE_CHECKING:
    from visiglot.evaluate.benchmark import Benchmark


class Answers(StrEnum):
    """How an answer comes to be."""

    generate = "generate"
    likelihood = "likelihood"


@dataclass(frozen=True)
class Task:
    """What is asked."""

    benchmarks: Sequence[Benchmark]
    languages: str
    folder: Path
    data: Path | None
    split: str | None
    prompts: str | None
    answers: Answers
    limit: int | None
    modality_gap: bool

    def codes(self, asked: Asked, benchmark: Benchmark) -> tuple[str, ...]:
        """FLORES-200 codes; `all` of a model that doesn't say what it knows are those that the benchmark has."""
        from visiglot.languages import resolve

        return resolve(self.languages, all_codes=asked.languages or benchmark.open(self.data).languages)


def rehearse(asked: Asked, task: Task) -> None:
    """Say which files would come to be, with how many rows; the model isn't loaded."""
    from visiglot.evaluate.generate import name_of
    from visiglot.evaluate.predictions import prediction_path

    if not asked.languages:
        typer.echo(f"{asked.name} doesn't say which languages it knows: `all` are the benchmark's")
    of_all = 0
    for benchmark in (one.opened(task.data) for one in task.benchmarks):
        data = benchmark.open(task.data)
        codes = task.codes(asked, benchmark)
        split, prompt_set = benchmark.choose("split", task.split), benchmark.choose("prompt set", task.prompts)
        total = 0
        for code in codes:
            if code not in data.languages:
                typer.echo(f"{benchmark.name} has no examples in {code}")
                continue
            count = sum(1 for _ in data.examples(code, split=split, prompt_set=prompt_set, limit=task.limit))
            total += count
            path = prediction_path(task.folder, benchmark.name, name_of(prompt_set, task.answers.value), code)
            typer.echo(f"{path}: {count:,} rows")
        if not total:
            raise EvaluationError(
                f"benchmark {benchmark.name}, split {split}: no examples in {', '.join(codes)}",
                hint=f"It has {', '.join(data.languages) or 'none'}.",
            )
        typer.echo(f"{benchmark.name}: {total:,} answers would be generated with {asked.name}")
        of_all += total
    if len(task.benchmarks) > 1:
        typer.echo(f"{of_all:,} answers in all; --limit makes them fewer")
