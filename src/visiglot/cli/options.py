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
    typer.Option("--model", "-m", help="`nano`, a run, a run or model folder, or a hub id."),
]
Device = Annotated[
    str,
    typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:N.", rich_help_panel=MACHINE),
]
Dtype = Annotated[
    str, typer.Option("--dtype", help="Number format: auto (as saved), fp32 or bf16.", rich_help_panel=MACHINE)
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
        "Evaluation: the resampling behind the intervals. Greedy and beam search draw nothing.",
        rich_help_panel=MACHINE,
    ),
]
Beams = Annotated[
    int, typer.Option("--beams", min=1, help="Beams of the search; 1 is greedy.", rich_help_panel=GENERATION)
]
MaxNewTokens = Annotated[
    int,
    typer.Option("--max-new-tokens", min=1, help="Tokens after which an answer is cut.", rich_help_panel=GENERATION),
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
    list[str], typer.Argument(help="Picture files, folders (searched through, sorted), or patterns in quotes.")
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
