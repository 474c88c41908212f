"""`visiglot data ls`: the formats that are read, and their options."""

from __future__ import annotations

import inspect
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from visiglot.cli.console import stdout


def ls(
    source: Annotated[
        str | None, typer.Argument(help="A name in the table of sources: says all about that one.")
    ] = None,
) -> None:
    """List the sources of examples that recipes, `check` and `write` may name, or explain one."""
    if source is None:
        _list()
    else:
        _explain(source)


def _list() -> None:
    from rich.table import Table

    from visiglot.data.adapter import FORMATS
    from visiglot.data.source import SOURCES

    table = Table(box=None, pad_edge=False)
    for heading in ("source", "of", "licence of its texts"):
        table.add_column(heading)
    for name, build in SOURCES.items():
        known = FORMATS.get(name)
        if known is None:
            table.add_row(name, _first_line(build), "each row's own")
        else:
            table.add_row(name, known.title, known.licence or "not stated")
    stdout().print(table)


def _explain(name: str) -> None:
    from typing import get_type_hints

    from visiglot.data.adapter import COMMON, FORMATS
    from visiglot.data.source import SOURCES

    build = SOURCES.get(name)
    common = COMMON if name in FORMATS else {}
    typer.echo((inspect.getdoc(build) or name).partition("\n\nRaises:")[0])
    typer.echo("")
    kinds = get_type_hints(build, include_extras=True)
    for option, parameter in inspect.signature(build).parameters.items():
        if option in ("languages", "seed"):
            continue
        needed = parameter.default is inspect.Parameter.empty
        told = "needed" if needed else f"default {parameter.default!r}"
        if option == next(iter(common), None):
            typer.echo("\nand those of every format:")
        about = f"; {common[option]}" if option in common else ""
        typer.echo(f"  {option}: {_kind(kinds.get(option))}, {told}{about}")


def _kind(annotation: Any) -> str:
    """An annotation as a person writes it: "'train' | 'val'", "Path"."""
    from visiglot.data.source import OneOf

    if get_origin(annotation) is Literal:
        return " | ".join(map(repr, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        names = [one.names() for one in annotation.__metadata__ if isinstance(one, OneOf)]
        return " | ".join(names[0]) if names else _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(_kind(one) for one in get_args(annotation) if one is not NoneType)
    if get_origin(annotation) is not None:
        return f"list of {_kind(get_args(annotation)[0])}"
    return {str: "text", int: "number", float: "number", bool: "true | false"}.get(annotation) or annotation.__name__


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]
