"""`run.json`: how to make an evaluation again, and what its report must know beside the scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from visiglot.errors import EvaluationError
from visiglot.evaluate.predictions import RUN
from visiglot.files import write_text


@dataclass(frozen=True)
class BenchmarkRun:
    """What was asked of one benchmark under one prompt set.

    Names as in `Benchmark`; `rows`: examples by language; `commands`: the command lines that asked for them.
    """

    about: str
    split: str
    revision: str
    settings: Mapping[str, Any]
    settings_hash: str
    metrics: Mapping[str, tuple[str, ...]]
    chance: Mapping[str, float]
    licence: str
    citation: str
    translation: str
    control_of: str
    control: str
    language_groups: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int]
    commands: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Run:
    """The whole of run.json.

    Args:
        model, model_hash: the name the user gave, and what stood behind it.
        recipe: name of the recipe that trained the model, where it is known.
        command: the latest command line, as its words.
        commit: of the source tree, when Visiglot runs from one.
        versions: of Python and of the packages that the answers or scores depend on.
        device: where the answers were made.
        benchmarks: by "<benchmark>.<prompt set>".
    """

    model: str
    model_hash: str
    recipe: str = ""
    command: tuple[str, ...] = ()
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    benchmarks: Mapping[str, BenchmarkRun] = field(default_factory=dict)

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The distinct command lines that made the evaluation together."""
        of_benchmarks = [command for row in self.benchmarks.values() for command in row.commands]
        return tuple(dict.fromkeys(command for command in of_benchmarks or [self.command] if command))

    def expected(self, filename: str) -> int | None:
        """Rows that a prediction file is to have; None when the run doesn't say."""
        name, _, language = filename.removesuffix(".jsonl").rpartition(".")
        return self.benchmarks[name].rows.get(language) if name in self.benchmarks else None


def read_run(folder: Path) -> Run | None:
    """The folder's run.json; None when there is none (predictions made elsewhere).

    Raises:
        EvaluationError: it can't be read or is no run.json of ours.
    """
    path = folder / RUN
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        benchmarks = {name: BenchmarkRun(**_tuples(row)) for name, row in values.pop("benchmarks").items()}
        return Run(**{**_tuples(values), "benchmarks": benchmarks})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        names = ", ".join(f.name for f in fields(Run))
        raise EvaluationError(
            f"{path} can't be read as the account of an evaluation: {error}", hint=f"It needs {names}; or remove it."
        ) from error


def write_run(run: Run, folder: Path) -> None:
    """Write run.json atomically. Raises VisiglotError."""
    write_text(json.dumps(asdict(run), ensure_ascii=False, indent=1) + "\n", folder / RUN)


def add_benchmark(folder: Path, run: Run, name: str, row: BenchmarkRun, *, resume: bool) -> Run:
    """Write `run` with this benchmark added to those already in the folder's run.json, and return what was written.

    Languages asked for earlier with the same settings stay, and so do the commands that asked; with other settings they
    are forgotten, since their answers no longer belong to this run. So are, without `resume`, the earlier rows of the
    languages in `row`, whose answers are made anew.
    """
    before = read_run(folder)
    benchmarks = dict(before.benchmarks) if before is not None and before.model_hash == run.model_hash else {}
    old = benchmarks.get(name)
    commands = (run.command,) if run.command else ()
    if before is not None and old is not None and old.settings_hash == row.settings_hash:
        counts = {code: max(count, old.rows.get(code, 0) if resume else 0) for code, count in row.rows.items()}
        if resume or not old.rows.keys() <= counts.keys():
            earlier = old.commands or ((before.command,) if before.command else ())
            commands = tuple(dict.fromkeys((*earlier, *commands)))
        row = replace(row, rows={**old.rows, **counts})
    row = replace(row, commands=commands)
    run = replace(run, benchmarks={**benchmarks, name: row})
    write_run(run, folder)
    return run


def _tuples(value: Any) -> Any:
    """Lists, at any depth, as tuples."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
