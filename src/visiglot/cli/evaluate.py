"""`visiglot evaluate`: generate answers, score them, report."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import progress_bar, quiet_libraries, say, stdout
from visiglot.cli.models import card_languages, recipe_of, tell_loaded, trained_languages
from visiglot.cli.options import GENERATION, OUTPUT, Device, DryRun, Dtype, Languages, Resume, Seed, refuse_ignored
from visiglot.errors import EvaluationError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from visiglot.config import Recipe
    from visiglot.evaluate.benchmark import Benchmark
    from visiglot.evaluate.means import GroupMean
    from visiglot.evaluate.summary import Evaluation, Key
    from visiglot.types import Score

DEFAULT_BENCHMARK = "nano"


class Only(StrEnum):
    """One of the two stages."""

    generate = "generate"
    score = "score"


GENERATING = (
    "benchmarks",
    "languages",
    "limit",
    "resume",
    "beams",
    "max_new_tokens",
    "device",
    "dtype",
)
"""Parameters that say what is generated, and how."""


def evaluate(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="`nano`, a run, a run or model folder, a hub id, or a YAML file of parts.")
    ] = "nano",
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
    beams: Annotated[
        int | None,
        typer.Option(
            "--beams",
            min=1,
            help="Beams of the search. Default: the recipe's, else the benchmark's.",
            rich_help_panel=GENERATION,
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-new-tokens",
            min=1,
            help="Tokens after which an answer is cut. Default: the recipe's, else the benchmark's.",
            rich_help_panel=GENERATION,
        ),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    seed: Seed = None,
) -> None:
    """Measure a model language by language.

    Answers are generated into prediction files first and scored from there, so that a new metric never costs a forward
    pass. Answers that are there already are kept when they were made by the same model with the same settings.
    Languages that a benchmark lacks are named and left out. Default for --languages: those of the recipe, else `all`.
    """
    from visiglot.cli.questions import check_languages
    from visiglot.config import cache_dir
    from visiglot.evaluate.benchmark import BENCHMARKS

    if predictions is not None:
        refuse_ignored(context, ("model", "only", *GENERATING), "--predictions scores a file, no model is asked")
    elif only is Only.score:
        refuse_ignored(context, GENERATING, "--only score takes the answers that are there")
    check_languages(languages)
    chosen = [BENCHMARKS.get(name) for name in _names(benchmarks, None)]
    folder = out or cache_dir() / "evaluations" / _slug(predictions.stem if predictions is not None else model)
    if predictions is not None:
        _take_in(predictions, folder, dry_run=dry_run)
    elif only is not Only.score:
        recipe = recipe_of(model)
        chosen = chosen or [BENCHMARKS.get(name) for name in _names(None, recipe) or [DEFAULT_BENCHMARK]]
        chosen = [_with_settings(benchmark, recipe, max_new_tokens, beams) for benchmark in chosen]
        spec = languages or _languages_of(recipe)
        if dry_run:
            _rehearse(model, chosen, spec, limit, folder)
            return
        _generate(model, chosen, spec, folder, limit=limit, resume=resume, device=device, dtype=dtype, recipe=recipe)
    if dry_run:
        typer.echo(f"would score the predictions in {folder}")
        return
    if only is not Only.generate:
        _score(folder, seed or 0)


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
    recipe: Recipe | None,
) -> None:
    from visiglot.evaluate.answers import fingerprint_model
    from visiglot.evaluate.generate import generate_predictions
    from visiglot.languages import resolve

    quiet_libraries()
    from visiglot.models.load import load_model

    model, processor = load_model(name, device=device, dtype=dtype)
    tell_loaded(model)
    codes = resolve(spec, all_codes=model.config.languages)
    weights = fingerprint_model(model, processor)
    trained = trained_languages(name)
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
                recipe=recipe.name if recipe is not None else "",
                trained=trained,
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

    card = card_languages(name)
    for benchmark in benchmarks:
        data = benchmark.open(None)
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
        if not total:
            raise EvaluationError(
                f"benchmark {benchmark.name}, split {split}: no examples in {', '.join(codes)}",
                hint=f"It has {', '.join(data.languages) or 'none'}.",
            )
        typer.echo(f"{benchmark.name}: {total:,} answers would be generated with {name}")


def _take_in(file: Path, folder: Path, *, dry_run: bool) -> None:
    """Sort a prediction file's rows into the evaluation folder, a file for each benchmark and language.

    Raises:
        EvaluationError: the file is broken, or answers of another model would be overwritten.
        UnknownNameError: no such benchmark or prompt set.
    """
    from visiglot.evaluate.benchmark import BENCHMARKS
    from visiglot.evaluate.predictions import prediction_path, read_predictions, write_predictions
    from visiglot.types import Prediction

    parts: dict[Path, list[Prediction]] = {}
    for row in read_predictions(file):
        BENCHMARKS.get(row.benchmark).choose("prompt set", row.prompt_set)
        parts.setdefault(prediction_path(folder, row.benchmark, row.prompt_set, row.language), []).append(row)
    if not parts:
        raise EvaluationError(
            f"{file} holds no predictions",
            hint="It needs one JSON object a line, as `visiglot evaluate --only generate` writes them.",
        )
    for path, rows in parts.items():
        before = {row.model for row in read_predictions(path)} if path.exists() else set()
        if before - {row.model for row in rows}:
            raise EvaluationError(
                f"{path} holds answers of {', '.join(sorted(before))}", hint="Name another folder with --out."
            )
        if dry_run:
            typer.echo(f"{path}: {len(rows):,} rows")
    if not dry_run:
        for path, rows in parts.items():
            write_predictions(rows, path)


# --- score -----------------------------------------------------------------------------------------------------------


def _score(folder: Path, seed: int) -> None:
    from visiglot.evaluate.report import build_report
    from visiglot.evaluate.score import score_predictions

    score_predictions(folder, seed=seed)
    _print_scores(folder)
    html, markdown = build_report([folder], folder)
    typer.echo(f"report: {html} and {markdown.name}")


def _print_scores(folder: Path) -> None:
    """English, the means over groups of languages and their ratios for each benchmark and metric (of controls the mean
    over all), then the languages of the main metric of each benchmark that is no control, best first."""
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text

    from visiglot.evaluate.headline import controls_of, with_interval
    from visiglot.evaluate.summary import best_first, is_percent, load_evaluations, main_keys, tables
    from visiglot.sheet import format_value

    table = Table(box=None, pad_edge=False)
    for heading in ("benchmark", "metric", "languages"):
        table.add_column(heading)
    for heading in ("value (interval)", "answers", "failed"):
        table.add_column(heading, justify="right")
    evaluation = load_evaluations([folder])[0]
    found = tables(evaluation)
    for key, scores in found.items():
        head = (_title(key), key.metric)
        failed = sum(score.missing for score in scores.values())
        for name, value, percent in _lines(evaluation, key, scores):
            shown = with_interval(value, percent=percent)
            table.add_row(*head, name, shown, f"{value.n:,}", f"{failed:,}" if head[0] else "")
            head = ("", "")
    console = stdout()
    console.print(table)
    controls = controls_of([(evaluation, found)])
    for key in main_keys(found):
        scores = found[key]
        if len(scores) > 1 and (key.benchmark, key.prompt_set) not in controls:
            percent = is_percent(key.metric)
            shown_of = {
                code: format_value(scores[code].value, percent=percent) for code in best_first(scores, key.metric)
            }
            width = max(map(len, shown_of.values()))
            cells = [Text(f"{code} {value:>{width}}") for code, value in shown_of.items()]
            console.print(Text(f"\n{_title(key)}, {key.metric}, best first:"))
            console.print(Columns(cells, padding=(0, 3), column_first=True, equal=True))


def _lines(
    evaluation: Evaluation, key: Key, scores: Mapping[str, Score]
) -> Iterator[tuple[str, Score | GroupMean, bool]]:
    """(languages, value, whether it is a share) of each line about one metric of a benchmark."""
    from visiglot.evaluate.means import ALL
    from visiglot.evaluate.summary import is_percent
    from visiglot.languages import ENGLISH

    row = evaluation.benchmark(key.benchmark, key.prompt_set)
    means = [mean for mean in evaluation.means_of(key) if not (mean.relative_to and row and row.chance.get(key.task))]
    if not means:  # everything failed, which must be seen
        yield f"{ALL} (0)", next(iter(scores.values())), is_percent(key.metric)
    elif row is not None and row.control_of:
        means = [mean for mean in means if mean.group == ALL]
    elif ENGLISH in scores:
        yield "English", scores[ENGLISH], is_percent(key.metric)
    for mean in means:
        if mean.relative_to:
            yield f"{mean.group} / {mean.relative_to}", mean, True
        else:
            yield f"{mean.group} ({len(mean.languages)})", mean, is_percent(key.metric)


def _title(key: Key) -> str:
    return f"{key.benchmark} {key.prompt_set}".strip()


# --- what the recipe says --------------------------------------------------------------------------------------------


def _names(spec: str | None, recipe: Recipe | None) -> list[str]:
    """The benchmarks asked for, else the recipe's, else the default one."""
    if spec is not None:
        return [name for part in spec.split(",") if (name := part.strip())]
    return list(recipe.evaluate.benchmarks) if recipe is not None else []


def _with_settings(
    benchmark: Benchmark, recipe: Recipe | None, max_new_tokens: int | None, beams: int | None
) -> Benchmark:
    """The benchmark with the settings of generation that the command line gives, else the recipe, else its own."""
    section = recipe.evaluate if recipe is not None else None
    changes: dict[str, int] = {}
    for key, asked in (("max_new_tokens", max_new_tokens), ("beams", beams)):
        value = asked if asked is not None or section is None else getattr(section, key)
        if value is not None:
            changes[key] = value
    return replace(benchmark, settings=replace(benchmark.settings, **changes))


def _languages_of(recipe: Recipe | None) -> str:
    if recipe is None or recipe.evaluate.languages is None:
        return "all"
    own = recipe.evaluate.languages
    return own if isinstance(own, str) else ",".join(own)


def _slug(name: str) -> str:
    """A folder name for a model's name: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "model"
