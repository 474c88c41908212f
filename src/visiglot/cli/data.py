"""`visiglot data`: fetch the built-in data, look into a source, plan a recipe's mixture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import say, stdout
from visiglot.cli.errors import SOME_FAILED
from visiglot.cli.options import Languages, Sheet, verb
from visiglot.cli.pictures import refuse_foreign_page
from visiglot.errors import DataError

if TYPE_CHECKING:
    from visiglot.config import Recipe
    from visiglot.data.source import Source
    from visiglot.types import Example

app = typer.Typer(no_args_is_help=True, help="The built-in data, and checks of any other.", rich_markup_mode="rich")

SHEET_EXAMPLES = 60
PROBLEMS_SHOWN = 20


@verb(app)
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


@verb(app)
def check(
    source: Annotated[str, typer.Argument(help="A name in the table of sources ('nano'), or a .parquet file.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="The source's own options: task=caption", metavar="KEY=VALUE")
    ] = None,
    languages: Languages = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Examples that are looked at, spread evenly.")] = 500,
    sheet: Sheet = None,
) -> None:
    """Look into a source: languages, counts, and examples that can't be used.

    Exit code 1 if there are any that can't be used, 2 if the source has none at all.
    """
    if sheet is not None:
        refuse_foreign_page(sheet)
    opened = _open(source, options or [], languages)
    if not sum(len(found) for found in opened.by_language.values()):
        asked = f" in {languages}" if languages and len(opened) else ""
        raise DataError(
            f"source {opened.name} has no examples{asked}", hint="Check its path, its options and its languages."
        )
    _print_counts(opened)
    chosen: list[Example] = []
    problems: list[str] = []
    looked = _spread(opened, limit)
    for index in looked:
        try:
            chosen.append(opened[index])
        except DataError as error:
            problems.append(error.message)
            continue
        problem = _problem(chosen[-1])
        problems += [f"{chosen[-1].id}: {problem}"] if problem is not None else []
    for line in problems[:PROBLEMS_SHOWN]:
        typer.echo(f"  {line}")
    typer.echo(f"{len(looked):,} examples looked at, {len(problems):,} can't be used")
    if sheet is not None and chosen:
        _write_sheet(opened, chosen[:: -(-len(chosen) // SHEET_EXAMPLES)], sheet)
        typer.echo(str(sheet))
    if problems:
        raise typer.Exit(SOME_FAILED)


@verb(app)
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


def _open(name: str, options: list[str], languages: str | None) -> Source:
    import yaml

    from visiglot.data.source import build_source, option_problems
    from visiglot.errors import ConfigError
    from visiglot.languages import all_languages, resolve

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
        raise ConfigError(f"source {name}", problems, hint="Options look like task=caption")
    kind = name
    if name.endswith(".parquet"):
        kind, values = "parquet", {"path": name, **values}
    everything = [row.code for row in all_languages()]
    if problems := option_problems(kind, values):
        raise ConfigError(f"source {kind}", problems, hint="Options look like task=caption")
    codes = resolve(languages, all_codes=everything) if languages else _languages_of(kind, values) or everything
    return build_source(kind, values, languages=codes, seed=0)


def _languages_of(kind: str, values: dict[str, object]) -> tuple[str, ...]:
    """All languages of the built-in data, which wants to be asked for those it has only."""
    if kind != "nano":
        return ()
    from visiglot.data.nano.build import nano_dir
    from visiglot.data.nano.load import load_nano_once

    folder = values.get("folder")
    return load_nano_once(Path(str(folder)) if folder else nano_dir()).languages


def _print_counts(source: Source) -> None:
    from visiglot.data.source import describe

    typer.echo(describe(source))
    counts = sorted(((len(indices), code) for code, indices in source.by_language.items()), reverse=True)
    typer.echo("  " + ", ".join(f"{code} {count:,}" for count, code in counts))


def _spread(source: Source, limit: int) -> list[int]:
    """Numbers of up to `limit` examples, evenly spaced over the source's languages in their order."""
    indices = [int(index) for found in source.by_language.values() for index in found]
    step = max(1, -(-len(indices) // limit))
    return indices[::step]


def _problem(example: Example) -> str | None:
    """Why the example can't be used, None when it can."""
    from visiglot.errors import VisiglotError
    from visiglot.images import load_image
    from visiglot.types import ImageSlot

    slots = [part.index for message in example.messages for part in message.content if isinstance(part, ImageSlot)]
    if not example.messages:
        return "it has no messages"
    if sorted(set(slots)) != list(range(len(example.images))):
        return f"{len(example.images)} pictures, shown in the text: {Counter(slots) or 'none'}"
    last = example.messages[-1]
    if last.role == "assistant" and not last.text.strip():
        return "its answer is empty"
    if last.role != "assistant" and not example.references:
        return "it has neither an answer nor references"
    try:
        for ref in example.images:
            load_image(ref)
    except VisiglotError as error:
        return error.message
    return None


def _write_sheet(source: Source, examples: list[Example], path: Path) -> None:
    from visiglot.cli.pictures import card_image
    from visiglot.sheet import Card, Page, Text, write_page

    page = Page(f"Data check: {source.name}", f"{len(examples)} of {len(source):,} examples.")
    cards = []
    for example in examples:
        answers = [message.text for message in example.messages if message.role == "assistant"] or example.references
        asked = " / ".join(message.text for message in example.messages if message.role == "user")
        texts = tuple(Text(example.language, text, note=example.language) for text in answers)
        image = card_image(example.images[0]) if example.images else None
        cards.append(Card(image, example.id, texts, caption=f"{example.id}: {asked}"))
    page.cards(cards)
    write_page(page, path)
