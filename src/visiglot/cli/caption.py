"""`visiglot caption`: pictures in, one text for each language out."""

from __future__ import annotations

from typing import Annotated

import typer

from visiglot.cli.options import (
    GENERATION,
    BatchTokens,
    Beams,
    Device,
    DryRun,
    Dtype,
    Fp32Parts,
    Images,
    Languages,
    LengthPenalty,
    MaxNewTokens,
    Model,
    Quantize,
    QuantizeParts,
    RepetitionPenalty,
    Resume,
    RowsOut,
    Seed,
    Sheet,
    Temperature,
    TopK,
    TopP,
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
            help="Other words than the model's own: {language} is the language's English name, {image} where the "
            "picture stands.",
            rich_help_panel=GENERATION,
        ),
    ] = None,
    beams: Beams = 1,
    max_new_tokens: MaxNewTokens = 48,
    length_penalty: LengthPenalty = 1.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    fp32_parts: Fp32Parts = None,
    quantize: Quantize = None,
    quantize_parts: QuantizeParts = "language_model",
    batch_tokens: BatchTokens = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Caption pictures in many languages.

    Each picture is encoded once for all languages. One that can't be read becomes a row with an error, the others go
    on, and the exit code is 1; it is 2 when no picture could be captioned. With --out, rows that are there already are
    kept, and a file that holds anything else is never overwritten.
    """
    from visiglot.cli.answering import Loading, Output, answer_pictures
    from visiglot.cli.questions import Generation, Task

    generation = Generation(
        beams, max_new_tokens, length_penalty, repetition_penalty, temperature, top_p, top_k, seed or 0
    )
    answer_pictures(
        images,
        Task(prompt, languages, generation, caption=True),
        Loading(model, device, dtype, fp32_parts, quantize, quantize_parts, batch_tokens),
        Output(out, sheet, resume, dry_run),
    )
