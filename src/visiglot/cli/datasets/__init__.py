"""`visiglot data`: fetch the built-in data and fonts, look into a source, plan a recipe's mixture. One file a verb."""

from __future__ import annotations

import typer

from visiglot.cli.datasets.check import check as check_verb
from visiglot.cli.datasets.filter import filter as filter_verb
from visiglot.cli.datasets.fonts import fonts as fonts_verb
from visiglot.cli.datasets.ls import ls as ls_verb
from visiglot.cli.datasets.mine import mine as mine_verb
from visiglot.cli.datasets.nano import nano as nano_verb
from visiglot.cli.datasets.plan import plan as plan_verb
from visiglot.cli.datasets.write import write as write_verb
from visiglot.cli.options import verb

app = typer.Typer(
    no_args_is_help=True,
    help="Fetch the built-in data; list, check, plan, write, filter and mine any.",
    rich_markup_mode="rich",
)

for data_verb in (nano_verb, fonts_verb, ls_verb, check_verb, plan_verb, write_verb, filter_verb, mine_verb):
    verb(app)(data_verb)
