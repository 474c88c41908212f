"""`visiglot ask`: a question about pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from visiglot.cli.options import (
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


def ask(
    images: Images,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            "-p",
            help="The question: {language} is the language's English name, {image} where the picture stands (default: "
            "where the model learned it). Rows on stdin may bring their own.",
        ),
    ] = None,
    model: Model = "nano",
    languages: Languages = None,
    out: RowsOut = None,
    sheet: Sheet = None,
    resume: Resume = True,
    beams: Beams = 1,
    max_new_tokens: MaxNewTokens = 64,
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
    """Ask the same question about every picture, or what each row on stdin asks.

    Without --languages the prompt is asked once, as it is. With them it is asked once for each language: {language} is
    filled in, or "Answer in LANGUAGE." follows a prompt that doesn't have it. Exit codes as of `visiglot caption`.
    """
    from visiglot.cli.answering import Loading, Output, answer_pictures
    from visiglot.cli.questions import Generation, Task

    generation = Generation(
        beams, max_new_tokens, length_penalty, repetition_penalty, temperature, top_p, top_k, seed or 0
    )
    answer_pictures(
        images,
        Task(prompt, languages, generation, caption=False),
        Loading(model, device, dtype, fp32_parts, quantize, quantize_parts, batch_tokens),
        Output(out, sheet, resume, dry_run),
    )
