"""`visiglot evaluate`: generate answers, score them, report."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import progress_bar, quiet_libraries, say, stdout
from visiglot.cli.options import MACHINE, OUTPUT, Device, DryRun, Dtype, Languages, Resume

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from visiglot.config import Recipe
    from visiglot.evaluate.benchmark import Benchmark

DEFAULT_BENCHMARK = "nano"


class Only(StrEnum):
    """One of the two stages."""

    generate = "generate"
    score = "score"


def evaluate(
    model: Annotated[str, typer.Argument(help="`nano`, a run, a run or model folder, or a hub id.")] = "nano",
    benchmarks: Annotated[
        str | None,
        typer.Option(
            "--benchmarks",
            "-b",
            help="Names, separated by commas. Default: those of the recipe that trained the model, else `nano`.",
        ),
    ] = None,
    languages: Languages = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Examples in each language: the first so many.")
    ] = None,
    only: Annotated[
        Only | None, typer.Option("--only", help="One stage: generate the answers, or score those that are there.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Score this prediction file (JSONL), made anywhere; no model.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The evaluation folder. Default: evaluations/<name of the model> in the cache.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of the resampling behind the intervals.", rich_help_panel=MACHINE)
    ] = 0,
) -> None:
    """Measure a model language by language.

    Answers are generated into prediction files first and scored from there, so that a new metric never costs a forward
    pass. Answers that are there already are kept when they were made by the same model with the same settings.
    Languages that a benchmark lacks are named and left out. Default for --languages: those of the recipe, else `all`.
    """
    from visiglot.config import cache_dir
    from visiglot.evaluate.benchmark import BENCHMARKS

    folder = out or cache_dir() / "evaluations" / _slug(predictions.stem if predictions is not None else model)
    if predictions is not None:
        _take_in(predictions, folder)
    elif only is not Only.score:
        recipe = _recipe_of(model)
        wanted = (benchmarks.split(",") if benchmarks else None) or _benchmarks_of(recipe)
        chosen = [BENCHMARKS.get(name.strip()) for name in wanted]
        spec = languages or _languages_of(recipe)
        if dry_run:
            _rehearse(model, chosen, spec, limit, folder)
            return
        name = recipe.name if recipe is not None else ""
        _generate(model, chosen, spec, folder, limit=limit, resume=resume, device=device, dtype=dtype, recipe=name)
    if dry_run:
        typer.echo(f"would score the predictions in {folder}")
        return
    if only is not Only.generate:
        _score(folder, seed)


# --- generate --------------------------------------------------------------------------------------------------------


def _generate(
    name: str,
    benchmarks: Sequence[Benchmark],
    spec: str,
    folder: Path,
    *,
    limit: int | None,
    resume: bool,
    device: str,
    dtype: str,
    recipe: str,
) -> None:
    from visiglot.cli.answering import check_languages
    from visiglot.evaluate.answers import fingerprint_model
    from visiglot.evaluate.generate import generate_predictions
    from visiglot.languages import resolve

    check_languages(spec)
    quiet_libraries()
    from visiglot.models.build import load_model

    model, processor = load_model(name, device=device, dtype=dtype)
    codes = resolve(spec, all_codes=model.config.languages)
    weights = fingerprint_model(model, processor)
    for benchmark in benchmarks:
        with progress_bar() as bar:
            task = bar.add_task(benchmark.name, total=None)
            done = generate_predictions(
                model,
                processor,
                benchmark,
                codes,
                folder,
                resume=resume,
                model_name=name,
                model_hash=weights,
                limit=limit,
                recipe=recipe,
                command=("visiglot", *sys.argv[1:]),
                progress=_progress(bar, task),
            )
        say(f"{benchmark.name}: {done.made:,} answers made, {done.kept:,} kept, {done.failed:,} failed")
        if done.dropped:
            say(f"  {done.dropped:,} older answers were made by another model or with other settings: dropped")
        if done.lacking:
            say(f"  has no examples in {', '.join(done.lacking)}")


def _progress(bar: Progress, task: TaskID) -> Callable[[int, int, int], None]:
    return lambda there, wanted, failed: bar.update(task, completed=there, total=wanted)


def _rehearse(name: str, benchmarks: Sequence[Benchmark], spec: str, limit: int | None, folder: Path) -> None:
    """Say which files would come to be, with how many rows; the model isn't loaded."""
    from visiglot.evaluate.predictions import prediction_path
    from visiglot.languages import resolve

    card = _card_languages(name)
    for benchmark in benchmarks:
        data = benchmark.load(None)
        codes = resolve(spec, all_codes=card if card is not None else data.languages)
        if card is None:
            typer.echo(f"{name} isn't on this machine: `all` is taken to be the benchmark's languages")
        split, prompt_set = benchmark.splits[0], benchmark.prompt_sets[0]
        total = 0
        for code in codes:
            if code not in data.languages:
                typer.echo(f"{benchmark.name} has no examples in {code}")
                continue
            count = sum(1 for _ in data.examples(code, split=split, prompt_set=prompt_set, limit=limit))
            total += count
            typer.echo(f"{prediction_path(folder, benchmark.name, prompt_set, code)}: {count:,} rows")
        typer.echo(f"{benchmark.name}: {total:,} answers would be generated with {name}")


def _take_in(file: Path, folder: Path) -> None:
    """Sort a prediction file's rows into the evaluation folder, a file for each benchmark and language."""
    from visiglot.evaluate.predictions import prediction_path, read_predictions, write_predictions
    from visiglot.types import Prediction

    parts: dict[tuple[str, str, str], list[Prediction]] = {}
    for row in read_predictions(file):
        parts.setdefault((row.benchmark, row.prompt_set, row.language), []).append(row)
    for key, rows in parts.items():
        write_predictions(rows, prediction_path(folder, *key))


# --- score -----------------------------------------------------------------------------------------------------------


def _score(folder: Path, seed: int) -> None:
    from visiglot.evaluate.report import build_report
    from visiglot.evaluate.score import score_predictions

    score_predictions(folder, seed=seed)
    _print_scores(folder)
    html, markdown = build_report([folder], folder)
    typer.echo(f"report: {html} and {markdown.name}")


def _print_scores(folder: Path) -> None:
    """One line for each benchmark and metric: English, the mean over languages, the best and the worst."""
    from rich.table import Table

    from visiglot.evaluate.summary import ENGLISH, best_first, is_percent, load_evaluations, mean_value, tables
    from visiglot.sheet import format_value

    table = Table(box=None, pad_edge=False)
    for heading in ("benchmark", "metric"):
        table.add_column(heading)
    for heading in ("languages", "mean", "English", "best", "worst", "missing"):
        table.add_column(heading, justify="right")
    for key, scores in tables(load_evaluations([folder])[0]).items():
        percent = is_percent(key.metric)
        order = best_first(scores, key.metric)
        show = {code: format_value(scores[code].value, percent=percent) for code in scores}
        table.add_row(
            f"{key.benchmark} {key.prompt_set}".strip(),
            key.metric,
            str(len(scores)),
            format_value(mean_value(scores.values()), percent=percent),
            show.get(ENGLISH, "–"),
            *(f"{code} {show[code]}" for code in (order[0], order[-1])),
            f"{sum(score.missing for score in scores.values()):,}",
        )
    stdout().print(table)


# --- what the model's folder says ------------------------------------------------------------------------------------


def _recipe_of(name: str) -> Recipe | None:
    """The recipe that trained a run's checkpoint; None for a model that doesn't say."""
    from visiglot.config import load_recipe
    from visiglot.models.runs import resolve_model

    path = Path(resolve_model(name)).parent / "trainer" / "recipe.yaml"
    return load_recipe(str(path)) if path.is_file() else None


def _benchmarks_of(recipe: Recipe | None) -> list[str]:
    return (
        list(recipe.evaluate.benchmarks) if recipe is not None and recipe.evaluate.benchmarks else [DEFAULT_BENCHMARK]
    )


def _languages_of(recipe: Recipe | None) -> str:
    if recipe is None or recipe.evaluate.languages is None:
        return "all"
    own = recipe.evaluate.languages
    return own if isinstance(own, str) else ",".join(own)


def _card_languages(name: str) -> tuple[str, ...] | None:
    """The languages in a model folder's config.json; None when the model isn't on this machine."""
    from visiglot.models.runs import resolve_model

    path = Path(resolve_model(name)) / "config.json"
    if not path.is_file():
        return None
    return tuple(json.loads(path.read_text(encoding="utf-8")).get("languages") or ())


def _slug(name: str) -> str:
    """A folder name for a model's name: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "model"
