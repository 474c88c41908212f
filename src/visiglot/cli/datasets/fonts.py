"""`visiglot data fonts`: fetch the fonts that words are drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visiglot.cli.console import say
from visiglot.errors import DataError


def fonts(
    packages: Annotated[
        Path | None,
        typer.Option(
            "--packages", help="A folder with the packages' tarballs (`npm pack`), for use without a network."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch them again although they are there.")] = False,
) -> None:
    """Fetch the fonts that words are drawn in, for text in pictures: Google's Noto fonts, of 28 scripts.

    The packages come through the npm client, each checked against its pinned SHA-256.
    """
    from visiglot.data.fonts import build_fonts

    if packages is not None and not packages.is_dir():
        raise DataError(f"--packages: there is no folder {packages}", hint="Name the folder that holds the tarballs.")
    typer.echo(str(build_fonts(packages, force=force, progress=say)))
