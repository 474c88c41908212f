"""`visiglot data filter`: keep captions by their phrases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visiglot.cli.console import counted, say
from visiglot.cli.datasets.opening import open_source
from visiglot.cli.options import OUTPUT
from visiglot.errors import ConfigError, DataError


def filter(
    source: Annotated[str, typer.Argument(help="A source of captions ('capfilt'), or a .parquet file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write: .jsonl or .json.", rich_help_panel=OUTPUT)
    ],
    options: Annotated[
        list[str] | None, typer.Argument(help="The source's own options: path=ccs.json", metavar="KEY=VALUE")
    ] = None,
    min_captions: Annotated[
        int, typer.Option("--min-captions", min=1, help="Captions that a phrase must stand in to be kept.")
    ] = 10,
    per_phrase: Annotated[
        int, typer.Option("--per-phrase", min=1, help="Most captions that are drawn for a kept phrase.")
    ] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the drawing.")] = 42,
    phrases: Annotated[
        str,
        typer.Option(
            "--phrases",
            help="How phrases are found: rake (what stands between stop words and punctuation) or spacy:MODEL (noun "
            "chunks of an English model that is installed, as mBLIP had it: spacy:en_core_web_sm).",
        ),
    ] = "rake",
) -> None:
    """Keep captions with phrases that occur often, some for each phrase: mBLIP's filter of web captions.

    A phrase is kept that stands in --min-captions captions; --per-phrase captions are drawn for each, and what is drawn
    for any phrase is kept. The drawing follows from the seed and from what rows say, not from their order.

    English only, since stop words and phrases are a language's own: examples in other languages are left out. Filter
    first, then translate.

    The file is one that the source capfilt reads; its rows name their pictures.
    """
    from visiglot.data.caption_filter import filter_captions, write_kept
    from visiglot.data.phrases import phrase_finder
    from visiglot.data.progress import telling
    from visiglot.languages import ENGLISH

    if out.suffix not in (".jsonl", ".json"):
        raise ConfigError("visiglot data filter", [f"--out: must be a .jsonl or .json file, found {str(out)!r}"])
    find = phrase_finder(phrases)
    with telling(say):
        opened = open_source(source, options or [], ENGLISH)
        found = filter_captions(opened, find, min_captions=min_captions, per_phrase=per_phrase, seed=seed)
        if not len(found.numbers):
            raise DataError(
                f"no phrase stands in {min_captions} of {found.captions:,} captions",
                hint="Lower --min-captions, or filter more captions.",
            )
        write_kept(opened, found.numbers, out)
    if len(opened) > found.captions:
        say(f"left out: {counted(len(opened) - found.captions, 'example')} in other languages than English")
    share = len(found.numbers) / found.captions
    typer.echo(f"captions      {found.captions:,}")
    typer.echo(f"phrases       {found.phrases:,}")
    typer.echo(f"kept phrases  {found.kept_phrases:,} in {min_captions:,} captions or more")
    typer.echo(f"kept captions {len(found.numbers):,} ({share:.1%})")
    typer.echo(str(out))
