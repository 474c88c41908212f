"""The command line: one file a verb, each thin. Whatever is heavy is imported when its command runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from visiglot.cli.ask import ask as ask_verb
from visiglot.cli.caption import caption as caption_verb
from visiglot.cli.datasets import app as data_app
from visiglot.cli.doctor import doctor as doctor_verb
from visiglot.cli.errors import spoken
from visiglot.cli.evaluate import evaluate as evaluate_verb
from visiglot.cli.export import export as export_verb
from visiglot.cli.languages import languages as languages_verb
from visiglot.cli.options import verb
from visiglot.cli.recipes import app as recipes_app
from visiglot.cli.report import report as report_verb
from visiglot.cli.serve import serve as serve_verb
from visiglot.cli.train import train as train_verb
from visiglot.cli.translate import translate as translate_verb

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


@app.callback(
    epilog="Start with `visiglot caption PICTURE.png --languages de,sw,ar`; `visiglot doctor` says what this machine "
    "can do."
)
def visiglot(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give an image encoder any language model's languages: translate, train, evaluate, export, caption, ask, serve."""


for main_verb in (translate_verb, train_verb, evaluate_verb, export_verb, caption_verb, ask_verb, serve_verb):
    verb(app, WORK)(main_verb)
app.add_typer(data_app, name="data", rich_help_panel=HELP)
app.add_typer(recipes_app, name="recipes", rich_help_panel=HELP)
for helper in (languages_verb, report_verb, doctor_verb):
    verb(app, HELP)(helper)


def main() -> None:
    """Entry point of the `visiglot` script."""
    app(prog_name="visiglot")
