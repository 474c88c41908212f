"""`visiglot data plan`: what a recipe's stages draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import stdout

if TYPE_CHECKING:
    from visiglot.config import Recipe


def plan(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe or the path of a .yaml file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="As for `visiglot train`.", metavar="PATH=VALUE")
    ] = None,
) -> None:
    """Say how many examples of each source and language a recipe's stages draw."""
    from visiglot.config import load_recipe

    print_plan(load_recipe(recipe, overrides or []))


def print_plan(recipe: Recipe) -> None:
    """A table for each stage: languages down, sources across.

    Raises:
        DataError: a source can't be used.
    """
    from rich.table import Table

    from visiglot.data.mixture import Mixture

    console = stdout()
    for index, stage in enumerate(recipe.stages):
        total = stage.steps * stage.batch.rows
        mixture = Mixture(stage.data or recipe.data, total=total, seed=recipe.train.seed + index)
        counts = mixture.table()
        sources = list(dict.fromkeys(name for name, _ in counts))
        by_language = {code: {name: n for (name, c), n in counts.items() if c == code} for _, code in counts}
        lines = (
            f"stage {stage.name}: {stage.objective}, {stage.steps:,} steps of {stage.batch.rows:,} examples, "
            f"{total:,} in all"
        )
        typer.echo(lines)
        table = Table(box=None, pad_edge=False)
        table.add_column("language")
        for name in [*sources, "all"]:
            table.add_column(name, justify="right")
        for code, row in sorted(by_language.items()):
            cells = [f"{row[name]:,}" if name in row else "" for name in sources]
            table.add_row(code, *cells, f"{sum(row.values()):,}")
        console.print(table)
