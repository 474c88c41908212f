"""`visiglot data nano`: fetch and draw the built-in data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visiglot.cli.console import say
from visiglot.errors import DataError


def nano(
    packages: Annotated[
        Path | None,
        typer.Option(
            "--packages", help="A folder with the packages' tarballs (`npm pack`), for use without a network."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build the data set again although it is there.")] = False,
) -> None:
    """Fetch and draw the built-in data: emoji by four artists and their names in a hundred languages.

    The packages come through the npm client, each checked against its pinned SHA-256.
    """
    from visiglot.data.nano.build import CARD, build_nano, nano_dir

    if packages is not None and not packages.is_dir():
        raise DataError(f"--packages: there is no folder {packages}", hint="Name the folder that holds the tarballs.")
    if packages is not None and not force and (nano_dir() / CARD).is_file():
        say("the data set is there already, so --packages isn't read; --force builds it again")
    typer.echo(str(build_nano(packages=packages, force=force, progress=say)))
