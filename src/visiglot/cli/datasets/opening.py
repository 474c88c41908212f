"""Opening a source that is named on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visiglot.types import OnBad

if TYPE_CHECKING:
    from visiglot.data.source import Source

TASK = "Task"

_KINDS = {".tar": "webdataset", ".arrow": "parquet-images", ".tsv": "wit"}
"""Endings of files -> a format that they may be of."""

_NO_OPTIONS = ("languages", "seed")
"""What every source is given besides its options."""

SourceName = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A name in the table of sources (`nano task=caption`), or a .parquet file."),
]
SourceOptions = Annotated[
    list[str] | None,
    typer.Argument(
        help="The source's own options: path=captions.json; `visiglot data ls SOURCE` lists them.", metavar="KEY=VALUE"
    ),
]
SourceLanguages = Annotated[
    str | None,
    typer.Option(
        "--languages",
        "-l",
        help="Codes, names or named sets, with commas ('de,sw', 'mblip,-yi'). Default: all that the source has.",
    ),
]
Task = Annotated[
    str | None,
    typer.Option("--task", help="Have a task write prompts and answers (its name in recipes).", rich_help_panel=TASK),
]
TaskOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--task-option", help="An option of the task; may be repeated.", metavar="KEY=VALUE", rich_help_panel=TASK
    ),
]
TaskSeed = Annotated[
    int, typer.Option("--seed", help="Seed of the templates and of what else --task draws.", rich_help_panel=TASK)
]


def open_source(
    name: str,
    options: Sequence[str],
    languages: str | None,
    *,
    on_bad: OnBad | None = None,
    max_bad: float | None = None,
) -> Source:
    """A source as it is named on the command line.

    Args:
        name: in the table of sources, or the path of a .parquet file.
        options: `key=value`, values in YAML.
        languages: as in `--languages`; None: all that it has.
        on_bad, max_bad: the source's options of these names, where it has them.

    Raises:
        ConfigError: options that can't be read, or that the source doesn't take.
        DataError: its files can't be used.
    """
    from visiglot.data.source import build_source, option_problems
    from visiglot.errors import ConfigError
    from visiglot.languages import all_languages, resolve

    kind = "parquet" if name.endswith(".parquet") else name
    _refuse_file(kind)
    values = read_options(f"source {name}", options, hint=_how_options_look(kind))
    if kind != name:
        values = {"path": name, **values}
    for key, value in (("on_bad", on_bad), ("max_bad", max_bad)):
        if value is not None and takes(kind, key):
            values.setdefault(key, value)
    everything = [row.code for row in all_languages()]
    if problems := option_problems(kind, values):
        raise ConfigError(f"source {kind}", problems, hint=_how_options_look(kind))
    codes = resolve(languages, all_codes=everything) if languages else _languages_of(kind, values) or everything
    return build_source(kind, values, languages=codes, seed=0)


def open_task(source: Source, task: str | None, options: Sequence[str], seed: int) -> Source:
    """The source as a task rewrites it; itself without a task.

    Raises:
        UnknownNameError: no such task.
        ConfigError: options that can't be read, that the task doesn't take, or that have no task to take them.
        DataError: the source lacks a fact that the task needs.
    """
    from visiglot.errors import ConfigError

    if task is None:
        if options:
            raise ConfigError("--task-option", ["there is no task to take it"], hint="Name one with --task.")
        return source
    from visiglot.data.tasks import tasked

    return tasked(source, task, read_options(f"task {task}", options), seed)


def read_options(
    where: str, options: Sequence[str], *, hint: str = "Options look like KEY=VALUE."
) -> dict[str, object]:
    """Options as they are written, `key=value`, with values in YAML. Raises ConfigError, with `hint`."""
    import yaml

    from visiglot.errors import ConfigError

    values: dict[str, object] = {}
    problems = []
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            problems.append(f"option {option!r}: has no `key=value`")
            continue
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            problems.append(f"option {option!r}: its value is no YAML: {' '.join(str(error).split())}")
    if problems:
        raise ConfigError(where, problems, hint=hint)
    return values


def takes(kind: str, option: str) -> bool:
    """Whether a source has an option. Raises UnknownNameError: there is no such source."""
    import inspect

    from visiglot.data.source import SOURCES

    return option in inspect.signature(SOURCES.get(kind)).parameters


def refuse_empty(source: Source, languages: str | None) -> None:
    """Raises DataError: a source has nothing in the languages that were asked for."""
    from visiglot.errors import DataError

    if not any(len(found) for found in source.by_language.values()):
        if not len(source) and (about := bad_rows(source)) is not None:
            raise DataError(
                f"source {source.name} has no examples: {about['count']:,} of {about['rows']:,} rows can't be used; "
                f"the first: {about['first'][0]}",
                hint="Is the file of this format? `visiglot data ls` lists all.",
            )
        asked = f" in {languages}" if languages and len(source) else ""
        raise DataError(
            f"source {source.name} has no examples{asked}", hint="Check its path, its options and its languages."
        )


def tell_lacking(source: Source, languages: str | None) -> None:
    """Say in which of the languages that were asked for by name a source has nothing."""
    from visiglot.cli.console import say
    from visiglot.languages import all_languages, resolve

    if not languages or "all" in [part.strip() for part in languages.split(",")]:
        return
    codes = resolve(languages, all_codes=[row.code for row in all_languages()])
    lacking = [code for code in codes if not len(source.by_language.get(code, ()))]
    if lacking:
        say(f"notice  source {source.name} has no examples in {', '.join(lacking)}")


def bad_rows(source: Source) -> dict[str, Any] | None:
    """What was left out when a source was opened: counts, and the first of it from the ledger. None: nothing was."""
    from visiglot.data.indexed import IndexedSource
    from visiglot.data.inspect import NAMED

    if not isinstance(source, IndexedSource) or not source.bad:
        return None
    with source.ledger.open(encoding="utf-8") as file:
        lines = [json.loads(line) for _, line in zip(range(NAMED), file, strict=False)]
    count = sum(source.bad.values())
    return {
        "rows": source.scanned,
        "count": count,
        "share": count / source.scanned,
        "reasons": dict(source.bad),
        "first": [line["detail"] for line in lines],
        "ledger": str(source.ledger),
    }


def _refuse_file(name: str) -> None:
    """Raises ConfigError: a file or a folder is named where a source should be."""
    from visiglot.data.source import SOURCES
    from visiglot.errors import ConfigError

    if name in SOURCES.names() or not (Path(name).exists() or Path(name).suffix or "/" in name):
        return
    kind = _KINDS.get(Path(name).suffix, "llava")
    raise ConfigError(
        f"source {name}",
        ["is a path, which doesn't say what is in it"],
        hint=f"Name its format: `visiglot data check {kind} path={name}`; `visiglot data ls` lists them.",
    )


def _how_options_look(kind: str) -> str:
    """With an option that the source has, one that it needs where there is one. Raises UnknownNameError."""
    import inspect

    from visiglot.data.source import SOURCES

    own = [one for one in inspect.signature(SOURCES.get(kind)).parameters.values() if one.name not in _NO_OPTIONS]
    first = min(own, key=lambda one: one.default is not inspect.Parameter.empty, default=None)
    look = "KEY=VALUE" if first is None else f"{first.name}=…"
    return f"Options look like {look}; `visiglot data ls {kind}` lists them."


def _languages_of(kind: str, values: dict[str, object]) -> tuple[str, ...]:
    """All languages of the built-in data, which wants to be asked for those it has only."""
    if kind != "nano":
        return ()
    from visiglot.data.nano.build import nano_dir
    from visiglot.data.nano.load import load_nano_once

    folder = values.get("folder")
    return load_nano_once(Path(str(folder)) if folder else nano_dir()).languages
