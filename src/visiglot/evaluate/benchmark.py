"""What a benchmark is, and the table of them. Adding one is one file in `visiglot/benchmarks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from visiglot.errors import EvaluationError, UnknownNameError
from visiglot.registry import Registry
from visiglot.types import Example, Prediction

RANKED = ("likelihood-accuracy", "likelihood-accuracy-by-character")
"""Metrics of rows whose choices were ranked."""


class BenchmarkData(Protocol):
    """A benchmark's data, opened."""

    @property
    def revision(self) -> str:
        """What exactly was opened: a commit, a version, or a hash of the files."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """FLORES codes of the languages that there are examples in."""
        ...

    @property
    def language_groups(self) -> Mapping[str, tuple[str, ...]]:
        """Named groups of languages over which the report averages; may be empty. The first is the usual case; bars of
        languages in the others say so ("never pictured")."""
        ...

    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Iterable[Example]:
        """The examples in one language, always in the same order, with references, ids unique in the language.

        Args:
            limit: the first so many only; languages with the same pictures give the same ones.
        """
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are generated; greedy or beam search, so that an answer is a function of these."""

    max_new_tokens: int = 32
    min_new_tokens: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Benchmark:
    """A row of the table.

    Args:
        name: in file names and results; letters, digits and hyphens.
        about: one sentence for the report.
        load: opens the data, from a folder or from where it is by default.
        splits, prompt_sets: the first is the default.
        metrics: by task, names in the table of metrics; the first is the one that headlines and bars show.
        settings: of generation.
        chance: by task, the value of the first metric that guessing gives, where there is such a thing.
        folder: of its data under the root of all benchmarks' data; "": its name.
        facts: names of the examples' facts that the metrics need, which go into the prediction files.
        parts: those of them by whose values the first metric is given apart too (a category), in parts.jsonl.
        embeds: whether pictures and texts are ranked by a model's vectors of them, and nothing is generated.
        hidden: where answers are sent whose labels its authors keep, for examples without references; "": nowhere.
        control_of, control: for a control, the benchmark that it controls and what was done ("wrong image").
        licence, citation: of the data; citation is a key of recipes/citations.toml or a reference in words.
        translation: who made the texts in the other languages.
    """

    name: str
    about: str
    load: Callable[[Path | None], BenchmarkData]
    splits: tuple[str, ...]
    prompt_sets: tuple[str, ...]
    metrics: Mapping[str, tuple[str, ...]]
    licence: str
    citation: str
    translation: str
    settings: Settings = Settings()
    chance: Mapping[str, float] = field(default_factory=dict)
    folder: str = ""
    facts: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    embeds: bool = False
    hidden: str = ""
    control_of: str = ""
    control: str = ""

    def open(self, root: Path | None) -> BenchmarkData:
        """The data, from the benchmark's folder under `root`; from its own place when there is no root or, for a
        benchmark whose data comes with the package, no such folder.

        Raises:
            EvaluationError: there is neither, or a file is not as published.
        """
        folder = root / (self.folder or self.name) if root is not None else None
        return self.load(folder if folder is not None and folder.is_dir() else None)

    def opened(self, root: Path | None) -> Benchmark:
        """Itself with its data open: whoever opens it then gets the same, so that files are read and hashed once.

        Raises:
            EvaluationError: as `open`.
        """
        data = self.open(root)
        return replace(self, load=lambda _: data)

    def metrics_of(self, task: str) -> tuple[str, ...]:
        """Names of the metrics of a task.

        Raises:
            EvaluationError: the benchmark has no such task.
        """
        if task not in self.metrics:
            raise EvaluationError(
                f"benchmark {self.name} has no task {task!r}; it has {', '.join(self.metrics)}",
                hint="Check the `task` of the prediction rows.",
            )
        return self.metrics[task]

    def choose(self, kind: str, wanted: str | None) -> str:
        """`wanted` if it is one of the benchmark's splits or prompt sets; the default for None.

        Args:
            kind: "split" or "prompt set".

        Raises:
            UnknownNameError: with the nearest names.
        """
        known = {"split": self.splits, "prompt set": self.prompt_sets}[kind]
        if wanted is None:
            return known[0]
        if wanted not in known:
            raise UnknownNameError(f"{kind} of {self.name}", wanted, known)
        return wanted


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", modules=("visiglot.benchmarks",))


def metrics_for(benchmark: str, task: str, rows: Sequence[Prediction]) -> Sequence[str]:
    """Names of the metrics of a task's rows: the benchmark's, behind those of ranked choices where the rows have such.

    Raises:
        UnknownNameError, EvaluationError: there is no such benchmark, or it has no such task.
    """
    names = BENCHMARKS.get(benchmark).metrics_of(task)
    ranked = RANKED if any(row.likelihoods for row in rows) else ()
    return tuple(dict.fromkeys((*ranked, *names)))
