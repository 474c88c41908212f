"""Options that mean one thing everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from visiglot.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., None])

MACHINE = "Machine"
OUTPUT = "Output"
GENERATION = "Generation"

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="`nano`, a run, a run or model folder, a hub id, or a YAML file of parts."),
]
Device = Annotated[
    str,
    typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:N.", rich_help_panel=MACHINE),
]
Dtype = Annotated[
    str, typer.Option("--dtype", help="Number format: auto (as saved), fp32 or bf16.", rich_help_panel=MACHINE)
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        help="Linear layers in fewer bits: int8 (half of bf16 and close to it; no answer depends on what is asked "
        "beside it), nf4 (a quarter, less exact) or llm-int8 (8 bits as in mBLIP's paper; answers do depend on what is "
        "asked beside them). Default: as loaded.",
        rich_help_panel=MACHINE,
    ),
]
QuantizeParts = Annotated[
    str,
    typer.Option(
        "--quantize-parts",
        help="What --quantize is about: language_model, or all (the vision encoder and the Q-Former too).",
        rich_help_panel=MACHINE,
    ),
]
Languages = Annotated[
    str | None,
    typer.Option(
        "--languages",
        "-l",
        help="Codes, names or named sets, with commas ('de,sw', 'mblip,-yi'); `all`: those on the model's card.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=OUTPUT)
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Go on with what is there already. With --no-resume what is asked for is made anew; what else is in the "
        "same place stays.",
        rich_help_panel=OUTPUT,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Seed of everything random in the command. Training: data, weights, dropout (default: the recipe's). "
        "Evaluation: the resampling behind the intervals. Answers: what is drawn with --temperature; greedy and beam "
        "search draw nothing.",
        rich_help_panel=MACHINE,
    ),
]
LidModel = Annotated[
    Path | None,
    typer.Option(
        "--lid-model",
        help="A fastText model that says which language an answer is in. Default: its script, then py3langid.",
    ),
]
Beams = Annotated[
    int, typer.Option("--beams", min=1, help="Beams of the search; 1 is greedy.", rich_help_panel=GENERATION)
]
MaxNewTokens = Annotated[
    int,
    typer.Option("--max-new-tokens", min=1, help="Tokens after which an answer is cut.", rich_help_panel=GENERATION),
]
LengthPenalty = Annotated[
    float,
    typer.Option(
        "--length-penalty",
        help="Of beams: scores are divided by length to this power; above 0 favours long answers.",
        rich_help_panel=GENERATION,
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option("--repetition-penalty", help="Above 1, what was said is said less again.", rich_help_panel=GENERATION),
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        min=0,
        help="0 takes the likeliest tokens, above 0 they are drawn. What is drawn follows from --seed and from the "
        "question, not from what is asked beside it.",
        rich_help_panel=GENERATION,
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        min=0,
        max=1,
        help="Draw from the likeliest tokens that together have this probability.",
        rich_help_panel=GENERATION,
    ),
]
TopK = Annotated[
    int,
    typer.Option("--top-k", min=0, help="Draw from this many likeliest tokens; 0 is all.", rich_help_panel=GENERATION),
]
Fp32Parts = Annotated[
    str | None,
    typer.Option(
        "--fp32-parts",
        help="Parts kept in fp32 whatever --dtype is, with commas: connector (bf16 hurts Q-Formers most), vision.",
        rich_help_panel=MACHINE,
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        min=1,
        help="Tokens of prompts and answers that are decoded together (default: 16384); fewer take less memory.",
        rich_help_panel=MACHINE,
    ),
]
RowsOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="JSONL file to write; '-' is stdout. Default: a table.", rich_help_panel=OUTPUT),
]
Sheet = Annotated[
    Path | None,
    typer.Option("--sheet", help="Also write one HTML page with pictures and texts.", rich_help_panel=OUTPUT),
]
Images = Annotated[
    list[str],
    typer.Argument(
        help="Picture files, folders (searched through, sorted), or patterns in quotes; '-': rows on stdin, a JSON "
        "object a line with image (a path or a data URL) or images, and where it likes id, prompt and language(s)."
    ),
]


def given(context: typer.Context) -> set[str]:
    """Names of the parameters that were written on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def refuse_ignored(context: typer.Context, names: Iterable[str], because: str) -> None:
    """An option that would be ignored is a mistake.

    Args:
        names: the parameters that mean nothing here.
        because: what makes them so ("--only score generates nothing").

    Raises:
        ConfigError: naming all of `names` that were written.
    """
    written = given(context)
    problems = [f"--{name.replace('_', '-')}: {because}" for name in names if name in written]
    if problems:
        raise ConfigError(f"visiglot {context.info_name}", problems, hint="Leave it out; `--help` says what each does.")


def verb(app: typer.Typer, panel: str | None = None) -> Callable[[Function], Function]:
    """Register a function as a command; its docstring is the help, each paragraph wrapped anew for the terminal."""

    def register(function: Function) -> Function:
        paragraphs = (function.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        return app.command(help=text, rich_help_panel=panel)(function)

    return register
