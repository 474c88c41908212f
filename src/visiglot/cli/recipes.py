"""`visiglot recipes`: which there are, what they say, whether they hold together."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visiglot.cli.console import stdout
from visiglot.cli.errors import USER_ERROR
from visiglot.cli.options import verb

if TYPE_CHECKING:
    from visiglot.config import Recipe

app = typer.Typer(no_args_is_help=True, help="The built-in recipes.", rich_markup_mode="rich")

Name = Annotated[str, typer.Argument(help="A built-in recipe or the path of a .yaml file.")]


@verb(app)
def ls() -> None:
    """List the built-in recipes."""
    from rich.table import Table
    from rich.text import Text

    from visiglot.config import load_recipe, recipe_names

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "about"):
        table.add_column(heading, no_wrap=heading == "recipe")
    for name in recipe_names():
        table.add_row(name, Text(load_recipe(name).about))
    stdout().print(table)


@verb(app)
def show(
    name: Name,
    cite: Annotated[bool, typer.Option("--cite", help="Print the BibTeX entries of what the recipe follows.")] = False,
) -> None:
    """Print a recipe as it is written."""
    from visiglot.config import load_recipe, read_recipe_text

    if not cite:
        typer.echo(read_recipe_text(name), nl=False)
        return
    typer.echo("\n\n".join(bibtex(key) for key in load_recipe(name).cite))


@verb(app)
def check(
    name: Annotated[str | None, typer.Argument(help="A recipe; nothing: all built-in ones.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="As for `visiglot train`.", metavar="PATH=VALUE")
    ] = None,
) -> None:
    """Read recipes, and list their parts, stages, export targets and all their problems (exit code 2 if there are any).

    Parts, options, languages and names are checked as training would, without weights: the model is put together on a
    device that allocates nothing, and what would come from the hub isn't fetched. Of one recipe it is also said how
    many parameters each stage trains, how many examples it draws in which language, and an estimate of the memory that
    one GPU needs. Sources that have to be translated before training are named, and are no problem.
    """
    from visiglot.cli.console import quiet_libraries
    from visiglot.cli.recipe_check import obstacles_of, problems_of, targets_of
    from visiglot.cli.recipe_names import load_checked
    from visiglot.cli.recipe_summary import summary_of
    from visiglot.config import recipe_names
    from visiglot.errors import VisiglotError

    quiet_libraries()
    bad = 0
    for each in [name] if name is not None else recipe_names():
        try:
            recipe = load_checked(each, overrides or [])
        except VisiglotError as error:
            typer.echo(str(error) if each in error.message else f"{each}: {error}", err=True)
            bad += 1
            continue
        problems = problems_of(recipe)
        bad += bool(problems)
        typer.echo(f"{each}: {'fine' if not problems else f'{len(problems)} problem(s)'}")
        lines = describe_parts_of(recipe)
        if not problems:
            lines += [*targets_of(recipe), *obstacles_of(recipe)]
            lines += summary_of(recipe) if name is not None else []
        for line in lines:
            typer.echo(f"  {line}")
        for problem in problems:
            typer.echo(f"  problem: {problem}", err=True)
    if bad:
        raise typer.Exit(USER_ERROR)


# --- what a recipe says ----------------------------------------------------------------------------------------------


def describe_parts_of(recipe: Recipe) -> list[str]:
    """Parts, stages and languages, a line each; nothing is built."""
    from visiglot.languages import resolve

    model = recipe.model
    lines = [
        f"vision: {_origin(model.vision.from_, model.vision.config)}",
        f"connector: {model.connector.type}, {_origin(model.connector.from_, None)}",
        f"language_model: {_origin(model.language_model.from_, model.language_model.config)}",
        f"languages: {len(resolve(recipe.data.languages))}",
    ]
    for stage in recipe.stages:
        parts = ", ".join(f"{path} {part.train}" for path, part in stage.parts.items())
        lines.append(
            f"stage {stage.name}: {stage.objective}, {stage.steps:,} steps of {stage.batch.rows:,} examples; {parts}"
        )
    return lines


def _origin(source: str | None, config: dict[str, Any] | None) -> str:
    if source is not None:
        return f"from {source}"
    return f"new {config.get('model_type', '?')}" if config is not None else "new"


def hub_ids(recipe: Recipe) -> list[str]:
    """The parts' sources that are neither a folder, nor a file, nor a run, and so would be fetched.

    Raises:
        CheckpointError: a source is nothing at all.
    """
    from pathlib import Path

    from visiglot.models.runs import resolve_model

    model = recipe.model
    named = [model.vision.from_, model.connector.from_, model.language_model.from_, model.language_model.adapter]
    if isinstance(model.language_model.tokenizer, str):
        named.append(model.language_model.tokenizer)
    found = [resolve_model(name) for name in named if name is not None]
    return list(dict.fromkeys(where for where in found if not Path(where).exists()))


# --- citations -------------------------------------------------------------------------------------------------------


def bibtex(key: str) -> str:
    """The BibTeX entry of a row of citations.toml.

    Raises:
        UnknownNameError: there is none.
    """
    from visiglot.errors import UnknownNameError

    rows = _citations()
    if key not in rows:
        raise UnknownNameError("citation", key, rows)
    row = dict(rows[key])
    kind = row.pop("kind")
    width = max(map(len, row))
    lines = [f"  {name:<{width}} = {{{value}}}" for name, value in row.items()]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


@cache
def _citations() -> dict[str, dict[str, str]]:
    return tomllib.loads((resources.files("visiglot") / "recipes" / "citations.toml").read_text(encoding="utf-8"))
