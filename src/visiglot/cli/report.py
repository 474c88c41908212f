"""`visiglot report`: evaluation folders side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Evaluation folders; several stand side by side.", metavar="DIR...")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for report.html and report.md. Default: the folder, if there is one."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the report.")] = "How well it speaks",
) -> None:
    """Write report.html and report.md from scored evaluation folders; no model and no data set is needed."""
    from visiglot.errors import EvaluationError
    from visiglot.evaluate.report import build_report

    if out is None and len(folders) > 1:
        raise EvaluationError(
            f"{len(folders)} evaluation folders, and no place for their common report", hint="Name one with --out."
        )
    for path in build_report(folders, out or folders[0], title=title):
        typer.echo(str(path))
