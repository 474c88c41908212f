"""`visiglot ask`: a question about pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from visiglot.cli.options import (
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


def ask(
    images: Images,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            "-p",
            help="The question: {language} is the language's English name, {image} where the picture stands "
            "(default: last).",
        ),
    ],
    model: Model = "nano",
    languages: Languages = None,
    out: RowsOut = None,
    sheet: Sheet = None,
    resume: Resume = True,
    beams: Beams = 1,
    max_new_tokens: MaxNewTokens = 64,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Ask the same question about every picture.

    Without --languages the prompt is asked once, as it is. With them it is asked once for each language: {language} is
    filled in, or "Answer in LANGUAGE." follows a prompt that doesn't have it. Exit codes as of `visiglot caption`.
    """
    from visiglot.cli.answering import Task, answer_pictures
    from visiglot.cli.pictures import find_pictures
    from visiglot.cli.prompts import ANSWER_IN, LANGUAGE

    words = prompt if languages is None or LANGUAGE in prompt else prompt + ANSWER_IN
    task = Task(words, languages, beams, max_new_tokens)
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
