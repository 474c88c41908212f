"""`visiglot data plan`: what a recipe's data come to, and what its stages draw."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visiglot.cli.console import counted, say, stdout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from visiglot.config import Recipe, StageSection
    from visiglot.data.planning import DataPlan, SourcePlan


WIDEST = 1000
"""Columns that a table may have, whatever the terminal's."""


class Licence(StrEnum):
    """What the data must allow."""

    any = "any"
    commercial = "commercial"


def plan(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe or the path of a .yaml file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="As for `visiglot train`.", metavar="PATH=VALUE")
    ] = None,
    licence: Annotated[
        Licence | None,
        typer.Option(
            help="commercial: leave out what may not be used commercially, or doesn't say. Default: the recipe's."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: everything as one JSON object.")] = False,
) -> None:
    """Say how many examples go to which language, and how many of each the stages draw, before any work.

    Sources with `translate: true` are shared out by the recipe's allocation. A source whose files aren't there counts
    with the number of examples that the recipe states.
    """
    from visiglot.config import load_recipe
    from visiglot.data.progress import telling

    loaded = load_recipe(recipe, overrides or [])
    if licence is not None:
        loaded = _under(loaded, licence.value)
    with telling(say):
        if as_json:
            typer.echo(json.dumps(_as_json(loaded), ensure_ascii=False, indent=2))
        else:
            print_plan(loaded)


def print_plan(recipe: Recipe) -> None:
    """The sources and who is translated into what, where that is to be said; then a table of draws for each stage.

    Raises:
        DataError, ConfigError: a source can't be used.
    """
    plans = plans_of(recipe)
    told: list[SourcePlan] = []
    for name, found in sorted(plans, key=lambda named: named[0] != "data"):
        if any(source not in told for source in found.sources):
            _print_sources(name, found)
            told += found.sources
    for index, ((_, found), stage) in enumerate(zip(plans, recipe.stages, strict=True)):
        total = stage.steps * stage.batch.rows
        typer.echo(
            f"stage {stage.name}: {stage.objective}, {counted(stage.steps, 'step')} of "
            f"{counted(stage.batch.rows, 'example')}, {total:,} in all"
        )
        counts = found.draws(total, recipe.train.seed + index)
        print_counts({name: _of_source(counts, name) for name in dict.fromkeys(name for name, _ in counts)})


# --- what is counted -------------------------------------------------------------------------------------------------


def _under(recipe: Recipe, licence: str) -> Recipe:
    """The recipe with another `licence` in each of its data sections."""

    def under(stage: StageSection) -> StageSection:
        if stage.data is None:
            return stage
        return stage.model_copy(update={"data": stage.data.model_copy(update={"licence": licence})})

    stages = tuple(under(stage) for stage in recipe.stages)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"licence": licence}), "stages": stages})


def plans_of(recipe: Recipe) -> list[tuple[str, DataPlan]]:
    """Path and plan of each stage's data section; stages with the same section have the same plan."""
    from visiglot.data.planning import plan_data

    of_recipe: DataPlan | None = None
    plans = []
    for stage in recipe.stages:
        if stage.data is not None:
            plans.append((f"stages.{stage.name}.data", plan_data(stage.data, recipe.train.seed)))
            continue
        of_recipe = of_recipe or plan_data(recipe.data, recipe.train.seed)
        plans.append(("data", of_recipe))
    return plans


def _of_source(counts: Mapping[tuple[str, str], int], name: str) -> dict[str, int]:
    return {code: count for (source, code), count in counts.items() if source == name}


# --- how it is told --------------------------------------------------------------------------------------------------


def _print_sources(name: str, found: DataPlan) -> None:
    """Each source with its total, what the licence leaves out, and who is translated into what."""
    from rich.table import Table

    from visiglot.data.planning import label

    out = [f"{label(one.section)}: {one.reason}" for one in found.left_out]
    by_row = [(p.name, reason, count) for p in found.sources for reason, count in p.rows_left_out.items()]
    out += [f"{counted(count, 'row')} of {name}: {reason}" for name, reason, count in by_row]
    if not out and all(p.opened and not p.translated for p in found.sources):
        return
    policy = found.data.allocation.policy if found.data.allocation else "uniform"
    typer.echo(f"{name}: {counted(len(found.sources), 'source')}, allocation {policy}")
    table = Table(box=None, pad_edge=False, show_header=False)
    for number in range(3):
        table.add_column(justify="right" if number == 1 else "left", no_wrap=True)
    for p in found.sources:
        table.add_row(p.name, f"{p.total:,}", _note(p))
    table.add_row("all", f"{sum(p.total for p in found.sources):,}", "")
    stdout().print(table)
    for line in out:
        typer.echo(f"left out: {line}")
    translated = [p for p in found.sources if p.translated]
    if translated:
        if found.data.licence == "commercial":
            typer.echo("the engine that translates must allow commercial use too; NLLB's doesn't")
        typer.echo("in which language they will be:")
        print_counts({p.name: p.counts for p in translated})


def _note(p: SourcePlan) -> str:
    languages = [code for code, count in p.counts.items() if count]
    notes = []
    if p.translated:
        notes.append(f"of {p.examples:,}, in {len(languages)} languages once translated")
    elif languages == [""]:
        notes.append("in languages of its own")
    else:
        notes.append(f"in {languages[0]}" if len(languages) == 1 else f"in {len(languages)} languages of its own")
    return ", ".join([*notes, *([] if p.opened else ["not opened: the number is the recipe's"])])


def print_counts(columns: Mapping[str, Mapping[str, int]]) -> None:
    """Languages down, sources across, what all sources have together at the right and at the bottom."""
    from rich.measure import Measurement
    from rich.table import Table

    codes: Sequence[str] = sorted({code for column in columns.values() for code in column}, key=lambda c: (not c, c))
    table = Table(box=None, pad_edge=False)
    table.add_column("language", no_wrap=True)
    for name in [name.replace("/", "/\n") for name in [*columns, "all"]]:
        table.add_column(name, justify="right", no_wrap=True)
    for code in codes:
        cells = [f"{column[code]:,}" if code in column else "" for column in columns.values()]
        row = sum(column.get(code, 0) for column in columns.values())
        table.add_row(code or "(its own)", *cells, f"{row:,}")
    if len(codes) > 1:
        sums = [sum(column.values()) for column in columns.values()]
        table.add_row("all", *[f"{one:,}" for one in sums], f"{sum(sums):,}")
    console = stdout()
    wanted = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    console.width = max(console.width, wanted)  # a number that is cut off is worse than a line that is folded
    console.print(table)


def _as_json(recipe: Recipe) -> dict[str, Any]:
    plans = plans_of(recipe)
    stages = []
    for index, ((name, found), stage) in enumerate(zip(plans, recipe.stages, strict=True)):
        total = stage.steps * stage.batch.rows
        counts = found.draws(total, recipe.train.seed + index)
        draws = {name: _of_source(counts, name) for name in dict.fromkeys(name for name, _ in counts)}
        stages.append(
            {"stage": stage.name, "data": name, "objective": stage.objective, "examples": total, "draws": draws}
        )
    sections = {
        name: {
            "licence": found.data.licence,
            "sources": [
                {
                    "name": p.name,
                    "type": p.section.type,
                    "task": p.section.task,
                    "opened": p.opened,
                    "translate": p.translated,
                    "examples": p.examples,
                    "total": p.total,
                    "languages": dict(p.counts),
                    "rows_left_out": dict(p.rows_left_out),
                }
                for p in found.sources
            ],
            "left_out": [
                {"number": one.number, "type": one.section.type, "task": one.section.task, "reason": one.reason}
                for one in found.left_out
            ],
        }
        for name, found in plans
    }
    return {"recipe": recipe.name, "data": sections, "stages": stages}
