"""`visiglot data check`: look into a source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.errors import SOME_FAILED
from visiglot.cli.options import Languages, Sheet
from visiglot.cli.pictures import refuse_foreign_page
from visiglot.errors import DataError

if TYPE_CHECKING:
    from visiglot.data.source import Source
    from visiglot.types import Example

SHEET_EXAMPLES = 60
PROBLEMS_SHOWN = 20


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
