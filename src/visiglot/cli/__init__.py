"""The command line: one file a verb, each thin. Whatever is heavy is imported when its command runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from visiglot.cli import ask, caption, data, doctor, evaluate, languages, recipes, report, train
from visiglot.cli.errors import spoken

WORK = "The main verbs"
HELP = "Helpers"


class Verbs(TyperGroup):
    """Runs a command and turns the errors that Visiglot raises on purpose into sentences."""

    def invoke(self, ctx: Any) -> Any:
        with spoken():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"visiglot {version('visiglot')}")
        raise typer.Exit()


@app.callback(epilog="Start with `make demo`, or `visiglot doctor` to see what this machine can do.")
def visiglot(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give an image encoder any language model's languages: train, evaluate, caption, ask."""


app.command(rich_help_panel=WORK)(train.train)
app.command(rich_help_panel=WORK)(evaluate.evaluate)
app.command(rich_help_panel=WORK)(caption.caption)
app.command(rich_help_panel=WORK)(ask.ask)
app.command(rich_help_panel=HELP)(report.report)
app.add_typer(data.app, name="data", rich_help_panel=HELP)
app.command(rich_help_panel=HELP)(languages.languages)
app.add_typer(recipes.app, name="recipes", rich_help_panel=HELP)
app.command(rich_help_panel=HELP)(doctor.doctor)


def main() -> None:
    """Entry point of the `visiglot` script."""
    app(prog_name="visiglot")
