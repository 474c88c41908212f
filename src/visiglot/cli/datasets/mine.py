"""`visiglot data mine`: find hard negatives for image-caption matching."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import counted, say
from visiglot.cli.datasets.opening import open_source
from visiglot.cli.options import OUTPUT, Device, Languages
from visiglot.errors import ConfigError, Notice

if TYPE_CHECKING:
    from visiglot.data.mining.neighbours import Neighbours
    from visiglot.data.source import Source


def mine(
    source: Annotated[str, typer.Argument(help="A source of captions ('capfilt'), or a .parquet file.")],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            help="What says how alike captions are: a text encoder's folder or hub id (CLIP and its like with their "
            "projection, others by the mean of their tokens), or lexical (TF-IDF of letters; needs no weights).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the neighbours.", rich_help_panel=OUTPUT)],
    options: Annotated[
        list[str] | None, typer.Argument(help="The source's own options: path=kept.jsonl", metavar="KEY=VALUE")
    ] = None,
    ranks: Annotated[
        str, typer.Option("--ranks", help="Which of the nearest captions are kept; 1 is the nearest.")
    ] = "3,10,30,100,300",
    languages: Languages = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Most captions of a language that take part, spread evenly."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Find captions that are near to each caption but say something else: hard negatives for the task matching.

    Each caption is compared with all of its language, exactly. Captions that say the same but for capitals, spaces and
    punctuation, and those of the same picture, are no neighbours. A search that was stopped goes on where it was.
    """
    from visiglot.data.mining.mine import mine as mine_source
    from visiglot.data.progress import telling
    from visiglot.models.device import pick_device

    wanted = _ranks(ranks)
    if not wanted:
        problem = f"--ranks: must be whole numbers from 1 with commas, found {ranks!r}"
        raise ConfigError("visiglot data mine", [problem])
    with telling(say):
        opened = open_source(source, options or [], languages)
        found = mine_source(opened, encoder, out, ranks=wanted, limit=limit, device=str(pick_device(device)))
    _say_what_lacks(opened, found, limit)
    typer.echo(f"{opened.name}: {counted(len(found), 'example')}; with a neighbour of")
    for rank, count in zip(found.ranks, found.count(), strict=True):
        typer.echo(f"  rank {rank}: {count:,}")
    typer.echo(str(out))


def _say_what_lacks(source: Source, found: Neighbours, limit: int | None) -> None:
    """A notice where no example has a neighbour at a rank, and of how many captions the search was."""
    lacking = [str(rank) for rank, count in zip(found.ranks, found.count(), strict=True) if not count]
    if not lacking:
        return
    largest, code = max((len(indices), code) for code, indices in source.by_language.items())
    warnings.warn(
        Notice(
            f"{source.name}: no example has a neighbour at rank {' or '.join(lacking)}; {code}, the largest language, "
            f"has {counted(min(largest, limit or largest), 'caption')}, less those of one picture and those that say "
            "the same. Name smaller --ranks, or `matching` takes random captions where none is left."
        ),
        stacklevel=2,
    )


def _ranks(text: str) -> list[int]:
    """The numbers of "3,10"; none where it isn't such a list."""
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit()]
    return numbers if len(numbers) == len(parts) and min(numbers) > 0 else []
