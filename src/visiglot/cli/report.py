"""`visiglot report`: evaluation folders side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visiglot.cli.options import LidModel


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Evaluation folders; several stand side by side.", metavar="DIR...")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the report. Default: the folder, if there is one."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the report.")] = "How well it speaks",
    see: Annotated[
        list[str] | None,
        typer.Option("--see", metavar="TITLE=PATH_OR_URL", help="A page that the report leads to; may be repeated."),
    ] = None,
    lid_model: LidModel = None,
) -> None:
    """Write report.html, .md and .json from scored evaluation folders; no model and no data set is needed."""
    from visiglot.errors import EvaluationError
    from visiglot.evaluate.metrics import ScoreSettings
    from visiglot.evaluate.report import build_report

    if out is None and len(folders) > 1:
        raise EvaluationError(
            f"{len(folders)} evaluation folders, and no place for their common report", hint="Name one with --out."
        )
    for folder in folders:
        if not folder.is_dir():
            raise EvaluationError(
                f"there is no folder {folder}",
                hint="A report is of evaluation folders: `visiglot evaluate MODEL --out FOLDER` makes one.",
            )
    settings = ScoreSettings(lid_model)
    for path in build_report(folders, out or folders[0], title=title, see=_pages(see or []), settings=settings):
        typer.echo(str(path))


def _pages(given: list[str]) -> dict[str, str]:
    """Title -> path or URL. Raises ConfigError: an item is no `TITLE=PATH_OR_URL`, or a title is there twice."""
    from visiglot.errors import ConfigError

    pages: dict[str, str] = {}
    problems = []
    for item in given:
        title, _, target = (part.strip() for part in item.partition("="))
        if not title or not target:
            problems.append(f"--see: {item!r} has no title and page on both sides of `=`")
        elif title in pages:
            problems.append(f"--see: the title {title!r} is there twice")
        else:
            pages[title] = target
    if problems:
        raise ConfigError("visiglot report", problems, hint="--see 'What re-alignment needs=docs/study/realign.md'")
    return pages
