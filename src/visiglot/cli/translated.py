"""What `visiglot translate` says: what would be done, what was done, the report of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiglot.cli.console import say, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visiglot.config import Recipe
    from visiglot.translate.engine import Engine
    from visiglot.translate.jobs import Job
    from visiglot.translate.tally import Tally


def show_report(folder: Path) -> None:
    """Print the report of a translation, finished or not, and write its page anew. Raises TranslationError."""
    from visiglot.translate.folder import REPORT, Folder
    from visiglot.translate.report import report_text, write_report

    there = Folder(folder)
    tallies = there.tallies()
    typer.echo(report_text(there, tallies), nl=False)
    write_report(there, tallies)
    say(str(folder / REPORT))


def rehearse(jobs: Sequence[Job], engine: Engine, out: Path) -> None:
    """Say what would be translated into what."""
    from visiglot.cli.datasets.plan import print_counts

    typer.echo(f"would be translated by {engine.name}, licence {engine.licence or 'none of its own'}, into {out}:")
    for job in jobs:
        into = sum(map(len, job.translated.values()))
        stay = sum(map(len, job.kept.values()))
        typer.echo(f"  {job.name}: {into:,} examples from {job.language}, and {stay:,} stay as they are")
    print_counts({job.name: job.counts for job in jobs})


def tell(jobs: Sequence[Job], tallies: Sequence[Tally], out: Path, recipe: Recipe | None, pictures: str) -> None:
    """What became of the examples, and the lines for a recipe."""
    from rich.table import Table

    from visiglot.translate.folder import LEDGER, REPORT

    table = Table(box=None, pad_edge=False)
    for heading in ("source", "language", "as they are", "translated", "rejected", "for"):
        table.add_column(heading, justify="left" if heading in ("source", "language", "for") else "right", no_wrap=True)
    for one in tallies:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in one.reasons.items())
        counts = (f"{number:,}" for number in (one.kept, one.translated, one.left_out))
        table.add_row(one.job, one.language, *counts, reasons)
    stdout().print(table)
    if any(one.left_out for one in tallies):
        typer.echo(f"rejected: named in {out / LEDGER}, shown in {out / REPORT}")
    typer.echo("for a recipe's `data.sources`:")
    for job in jobs:
        typer.echo(f"  - {source_line(job, out, embed=pictures == 'bytes', own=recipe is None)}")
    for job in jobs:
        if "negatives" in job.section.task_options:
            path = out / f"{job.name}.parquet"
            typer.echo(f"  hard negatives of {job.name}: find them anew with `visiglot data mine {path}`")
    if recipe is not None:
        say(f"Put these lines in place of the sources with `translate: true` of {recipe.name}.")
    typer.echo(str(out))


def source_line(job: Job, out: Path, *, embed: bool, own: bool) -> str:
    """A source's section for a recipe, in one line of YAML: as many of each language as there are.

    Args:
        embed: whether pictures are in the file.
        own: name the languages too, where a recipe doesn't have them already.
    """
    import yaml

    options = {"path": str((out / f"{job.name}.parquet").absolute())} | ({} if embed else {"root": str(job.root)})
    values = job.section.model_dump(mode="json", exclude_defaults=True)
    values = {key: value for key, value in values.items() if key not in ("translate", "examples", "options", "type")}
    if own:
        values["languages"] = list(job.counts)
    line = {"type": "parquet", "options": options, **values, "allocation": {"policy": "size"}}
    return yaml.safe_dump(
        line, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    ).strip()
