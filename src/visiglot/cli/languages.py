"""`visiglot languages`: the language table, whole or in part."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from visiglot.cli.console import isolated
from visiglot.errors import LanguageError
from visiglot.languages import Language, all_languages, language, resolve, sets


def languages(
    query: Annotated[
        list[str] | None,
        typer.Argument(help="Codes, names or named sets ('sw', 'Swahili', 'mblip,-yi'); nothing: every language."),
    ] = None,
    set_name: Annotated[str | None, typer.Option("--set", help="A named set, such as mblip or xm3600.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
) -> None:
    """List the languages that Visiglot knows: codes, names, script, direction, resources."""
    rows = _chosen(query, set_name)
    if as_json:
        typer.echo(json.dumps([_as_dict(row) for row in rows], ensure_ascii=False, indent=2))
        return
    _print_table(rows, with_sets=not query and set_name is None)


def _chosen(query: list[str] | None, set_name: str | None) -> tuple[Language, ...]:
    """The rows that were asked for: a set's first, then the query's; all of them when nothing was asked for."""
    if set_name is not None and set_name.lower() not in sets():
        raise LanguageError("language set", set_name, sets())
    spec = [*([set_name] if set_name is not None else []), *(query or [])]
    return tuple(language(code) for code in resolve(spec)) if spec else all_languages()


def _as_dict(row: Language) -> dict[str, object]:
    return {item.name: getattr(row, item.name) for item in dataclasses.fields(row)} | {"literals": dict(row.literals)}


def _print_table(rows: tuple[Language, ...], *, with_sets: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("code", "aliases", "name", "native name", "script"):
        table.add_column(heading, no_wrap=heading in ("code", "script"), overflow="fold")
    table.add_column("direction")
    for heading in ("tier", "% of mC4"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = (
            row.code,
            ", ".join(row.aliases),
            row.name,
            isolated(row.native, row.direction),
            row.script,
            row.direction,
            "" if row.tier is None else str(row.tier),
            "" if row.mc4_share is None else f"{row.mc4_share:.4g}",
        )
        table.add_row(*map(Text, cells))
    console = Console()
    console.print(table)
    if with_sets:
        named = ", ".join(f"{name} ({len(codes)})" for name, codes in sets().items())
        console.print(Text(f"\n{len(rows)} languages. Named sets: {named}."))
