"""`visiglot data check`: look into a source."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visiglot.cli.console import counted, say
from visiglot.cli.datasets.opening import (
    SourceLanguages,
    SourceName,
    SourceOptions,
    Task,
    TaskOptions,
    TaskSeed,
    bad_rows,
    open_source,
    open_task,
    refuse_empty,
)
from visiglot.cli.errors import SOME_FAILED
from visiglot.cli.options import OUTPUT, Sheet, given
from visiglot.cli.pictures import refuse_foreign_page
from visiglot.errors import ConfigError
from visiglot.types import OnBad

if TYPE_CHECKING:
    from visiglot.data.inspect import Inspection, Some
    from visiglot.data.source import Source

LINES_SHOWN = 5
"""Of each kind of trouble; --json has more."""


def check(
    context: typer.Context,
    source: SourceName,
    options: SourceOptions = None,
    task: Task = None,
    task_options: TaskOptions = None,
    seed: TaskSeed = 0,
    languages: SourceLanguages = None,
    on_bad: Annotated[
        OnBad,
        typer.Option(
            "--on-bad",
            help="What a row that can't be read does: skip leaves it out and counts it, error ends with its file, line "
            "and field.",
        ),
    ] = "skip",
    max_bad: Annotated[
        float, typer.Option("--max-bad", min=0, max=1, help="Share of the rows that skip may leave out.")
    ] = 1.0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Examples that are looked at, spread evenly.")] = 500,
    everything: Annotated[bool, typer.Option("--all", help="Look at all examples, and decode all pictures.")] = False,
    sheet: Sheet = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout instead of lines.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Look into a source: what it holds, what in it can't be used, what is there twice.

    Languages are counted over the whole source; everything else over the examples that are looked at.

    Exit code 1 if some of these or some rows can't be used, 2 if the source can't be opened or has no examples.
    """
    from visiglot.data.inspect import inspect, spread
    from visiglot.data.progress import telling

    if everything and "limit" in given(context):
        raise ConfigError("visiglot data check", ["--limit: --all looks at every example"], hint="Give one of the two.")
    if sheet is not None:
        refuse_foreign_page(sheet)
    with telling(say):
        opened = open_source(source, options or [], languages, on_bad=on_bad, max_bad=max_bad)
        refuse_empty(opened, languages)
        asked = open_task(opened, task, task_options or [], seed)
        refuse_empty(asked, languages)
        numbers = spread(asked, None if everything else limit)
        found = inspect(asked, numbers, stop=on_bad == "error")
    if as_json:
        typer.echo(json.dumps(_as_json(opened, asked, found), ensure_ascii=False, indent=2))
    else:
        _print(opened, asked, found)
    if sheet is not None:
        from visiglot.cli.datasets.sheet import write_sheet

        write_sheet(asked, found, numbers, sheet)
        (say if as_json else typer.echo)(str(sheet))
    if found.unusable.count or bad_rows(opened):
        raise typer.Exit(SOME_FAILED)


def _print(opened: Source, asked: Source, found: Inspection) -> None:
    counts = _languages(asked)
    total = sum(counts.values())
    typer.echo(f"{asked.name}: {counted(total, 'example')} in {counted(len(counts), 'language')}")
    typer.echo("  " + ", ".join(f"{code} {count:,}" for code, count in counts.items()))
    left_out = _print_bad_rows(opened)
    which = "all" if found.looked_at == total else f"{found.looked_at:,} of {total:,}, spread evenly"
    typer.echo(f"looked at       {which}")
    _print_counts("tasks", found.tasks)
    _print_counts("licences", found.licences)
    read = max(1, sum(found.tasks.values()))
    typer.echo(f"  text only     {found.text_only:,} ({found.text_only / read:.1%})")
    typer.echo(f"  pictures      {found.pictures:,} shown, {found.files:,} different")
    for reason, some in sorted(found.bad_pictures.items(), key=lambda item: -item[1].count):
        typer.echo(f"    {some.count:,} {reason}: {_names(some)}")
    _print_some("same bytes", found.same_bytes, "as a picture of another name")
    _print_some("same example", found.same_example, "in pictures and words as an earlier one")
    _print_some("same id", found.same_id, "as an earlier one")
    _print_some("empty answers", found.empty_answers)
    for line in found.unusable.first[:LINES_SHOWN]:
        typer.echo(f"  {line}")
    if found.unusable.count > LINES_SHOWN:
        typer.echo(f"  … and {found.unusable.count - LINES_SHOWN:,} more")
    for hint in found.hints[:LINES_SHOWN]:
        typer.echo(f"  {hint}")
    of_all = "" if found.looked_at == total else f"{found.looked_at:,} of "
    rows = f", {counted(left_out, 'row')} left out" if left_out else ""
    typer.echo(f"{of_all}{counted(total, 'example')} looked at, {found.unusable.count:,} can't be used{rows}")


def _print_counts(heading: str, counts: Mapping[str, int]) -> None:
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    typer.echo(f"  {heading:13} {', '.join(f'{name} {count:,}' for name, count in most_first)}")


def _print_some(heading: str, some: Some, what: str = "") -> None:
    """How many, and the first by name; nothing where there are none."""
    if not some.count:
        return
    typer.echo(f"  {heading:13} {some.count:,}{f' {what}' if what else ''}: {_names(some)}")


def _names(some: Some) -> str:
    return ", ".join(some.first[:LINES_SHOWN]) + (", …" if some.count > LINES_SHOWN else "")


def _print_bad_rows(opened: Source) -> int:
    """What was left out when the source was opened; says how many rows."""
    about = bad_rows(opened)
    if about is None:
        return 0
    typer.echo(
        f"left out        {about['count']:,} of {counted(about['rows'], 'row')} ({about['share']:.2%}), "
        f"{about['ledger']}"
    )
    for line in about["first"][:LINES_SHOWN]:
        typer.echo(f"  {line}")
    return int(about["count"])


def _as_json(opened: Source, asked: Source, found: Inspection) -> dict[str, Any]:
    counts = _languages(asked)
    told = dataclasses.asdict(found)
    return {
        "source": asked.name,
        "examples": sum(counts.values()),
        "examples_by_language": counts,
        "rows_left_out": bad_rows(opened),
        **{key: value for key, value in told.items() if key != "unusable_numbers"},
    }


def _languages(source: Source) -> dict[str, int]:
    """Examples of each language, most first."""
    counts = sorted((-len(indices), code) for code, indices in source.by_language.items())
    return {code: -count for count, code in counts}
