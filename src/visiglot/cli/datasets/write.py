"""`visiglot data write`: a source's examples into one Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from visiglot.cli.console import counted, say
from visiglot.cli.datasets.opening import (
    SourceLanguages,
    SourceName,
    SourceOptions,
    Task,
    TaskOptions,
    TaskSeed,
    open_source,
    open_task,
    refuse_empty,
    tell_lacking,
)
from visiglot.cli.options import OUTPUT
from visiglot.errors import ConfigError, DataError
from visiglot.types import OnBad


def write(
    source: SourceName,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write, which ends in .parquet.", rich_help_panel=OUTPUT)
    ],
    options: SourceOptions = None,
    task: Task = None,
    task_options: TaskOptions = None,
    seed: TaskSeed = 0,
    languages: SourceLanguages = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Most examples that are written, spread evenly; default: all.")
    ] = None,
    pictures: Annotated[
        Literal["path", "bytes"],
        typer.Option(
            "--pictures",
            help="path: pictures stay where they are and are named relative to --root; bytes: their files' bytes go "
            "into the file. Pictures that the source has as bytes always do.",
            rich_help_panel=OUTPUT,
        ),
    ] = "path",
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="The folder below which all pictures lie. Default: that of --out.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    check_pictures: Annotated[
        bool,
        typer.Option(
            "--check-pictures/--no-check-pictures", help="Decode each picture once, to find those that are broken."
        ),
    ] = True,
    on_bad: Annotated[
        OnBad,
        typer.Option(
            "--on-bad",
            help="What a row or a picture that can't be used does: error ends, and nothing is written; skip leaves the "
            "example out and names it in a .bad.jsonl beside the file.",
        ),
    ] = "error",
    max_bad: Annotated[
        float, typer.Option("--max-bad", min=0, max=1, help="Share of the examples that skip may leave out.")
    ] = 0.01,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there already.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Write a source's examples into one Parquet file, which any recipe reads (type: parquet).

    The file appears whole or not at all. Everything an example holds is in it: facts, licence and language too.
    """
    from visiglot.data.indexed import IndexedSource
    from visiglot.data.inspect import spread
    from visiglot.data.progress import telling
    from visiglot.data.writing import write_source

    _refuse(out, pictures, root, force=force)
    with telling(say):
        opened = open_source(source, options or [], languages, on_bad=on_bad, max_bad=max_bad)
        refuse_empty(opened, languages)
        asked = open_task(opened, task, task_options or [], seed)
        refuse_empty(asked, languages)
        tell_lacking(asked, languages)
        written = write_source(
            asked,
            spread(asked, limit),
            out,
            root=root,
            embed=pictures == "bytes",
            check=check_pictures,
            on_bad=on_bad,
            max_bad=max_bad,
            earlier=opened.ledger if isinstance(opened, IndexedSource) and opened.bad else None,
        )
    if isinstance(opened, IndexedSource) and opened.bad:
        typer.echo(f"left out  {sum(opened.bad.values()):,} of {counted(opened.scanned, 'row')}")
    for reason, count in written.left_out.items():
        typer.echo(f"left out  {counted(count, 'example')}: {reason}")
    if written.ledger is not None:
        typer.echo(f"ledger    {written.ledger}")
    typer.echo(f"written   {counted(written.examples, 'example')}, {out.stat().st_size:,} bytes")
    if root is not None and pictures == "path":
        typer.echo(f"pictures  relative to {root}: give the source the option root={root}")
    typer.echo(str(out))


def _refuse(out: Path, pictures: str, root: Path | None, *, force: bool) -> None:
    """Raises ConfigError: options that don't fit. Raises DataError: the file is there."""
    problems = []
    if out.suffix != ".parquet":
        problems.append(f"--out: must end in .parquet, found {str(out)!r}")
    if root is not None and pictures == "bytes":
        problems.append("--root: --pictures bytes has no paths")
    if root is not None and not root.is_dir():
        problems.append(f"--root: there is no folder {root}")
    if problems:
        raise ConfigError("visiglot data write", problems)
    if out.exists() and not force:
        raise DataError(f"{out} is there already", hint="Name another --out, or write over it with --force.")
