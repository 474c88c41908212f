"""`visiglot caption`: pictures in, one text for each language out."""

from __future__ import annotations

from typing import Annotated

import typer

from visiglot.cli.options import (
    GENERATION,
    Beams,
    Device,
    DryRun,
    Dtype,
    Images,
    Languages,
    MaxNewTokens,
    Model,
    Resume,
    RowsOut,
    Seed,
    Sheet,
)


def caption(
    images: Images,
    model: Model = "nano",
    languages: Languages = "all",
    out: RowsOut = None,
    sheet: Sheet = None,
    resume: Resume = True,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="Other words: {language} is the language's English name, {image} where the picture stands.",
            rich_help_panel=GENERATION,
        ),
    ] = None,
    beams: Beams = 1,
    max_new_tokens: MaxNewTokens = 48,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Caption pictures in many languages.

    Each picture is encoded once for all languages. One that can't be read becomes a row with an error, the others go
    on, and the exit code is 1; it is 2 when no picture could be captioned. With --out, rows that are there already are
    kept, and a file that holds anything else is never overwritten.
    """
    from visiglot.cli.answering import Task, answer_pictures
    from visiglot.cli.pictures import find_pictures
    from visiglot.cli.prompts import caption_prompt

    task = Task(caption_prompt() if prompt is None else prompt, languages, beams, max_new_tokens)
    answer_pictures(
        find_pictures(images),
        task,
        model=model,
        device=device,
        dtype=dtype,
        out=out,
        sheet=sheet,
        resume=resume,
        seed=seed,
        dry_run=dry_run,
    )
