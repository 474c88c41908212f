"""`visiglot evaluate`: generate answers, score them, report."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.asked import Asked, EndpointOptions, look_up
from visiglot.cli.console import progress_bar, quiet_libraries, say
from visiglot.cli.evaluate_task import Answers, Task, rehearse
from visiglot.cli.options import (
    GENERATION,
    OUTPUT,
    Device,
    DryRun,
    Dtype,
    Languages,
    LidModel,
    Resume,
    Seed,
    refuse_ignored,
)
from visiglot.cli.scores import score
from visiglot.cli.theirs import Theirs, take_in
from visiglot.errors import EvaluationError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from visiglot.config import Recipe
    from visiglot.evaluate.benchmark import Benchmark

DEFAULT_BENCHMARK = "nano"


ENDPOINTS = "Endpoint"


class Only(StrEnum):
    """One of the two stages."""

    generate = "generate"
    score = "score"


GENERATING = (
    "benchmarks",
    "languages",
    "data",
    "split",
    "prompts",
    "answers",
    "limit",
    "resume",
    "beams",
    "max_new_tokens",
    "device",
    "dtype",
    "key_variable",
    "concurrent",
    "requests_per_minute",
    "modality_gap",
)
"""Parameters that say what is generated, and how."""

ENDPOINT_ONLY = ("key_variable", "concurrent", "requests_per_minute")
"""Parameters that say how an endpoint is asked."""


def evaluate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="`nano`, a run, a run or model folder, a hub id (ours or any image-text-to-text model), a YAML file "
            "of parts, or an endpoint as openai:URL#model."
        ),
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
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The folder with a folder of data for each benchmark. Default: where each is by itself."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of the data. Default: each benchmark's first.")] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            help="The prompt set, such as `native` (in the language) or `paper` (as in the original). Default: each "
            "benchmark's first.",
        ),
    ] = None,
    answers: Annotated[
        Answers,
        typer.Option(
            "--answers",
            help="generate, or likelihood: the likeliest of each question's choices, for questions that have some.",
        ),
    ] = Answers.generate,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Examples in each language: the first so many.")
    ] = None,
    only: Annotated[
        Only | None, typer.Option("--only", help="One stage: generate the answers, or score those that are there.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Score this file of answers, made anywhere; no model.")
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
    key_variable: Annotated[
        str | None,
        typer.Option(
            "--key-variable",
            help="The environment variable with the endpoint's key. Default: no key is sent.",
            rich_help_panel=ENDPOINTS,
        ),
    ] = None,
    concurrent: Annotated[
        int, typer.Option("--concurrent", min=1, max=256, help="Requests in flight.", rich_help_panel=ENDPOINTS)
    ] = 8,
    requests_per_minute: Annotated[
        int | None,
        typer.Option("--requests-per-minute", min=1, help="Default: no limit.", rich_help_panel=ENDPOINTS),
    ] = None,
    modality_gap: Annotated[
        bool,
        typer.Option(
            "--modality-gap",
            help="Also measure how far pictures lie from the texts of the references where the language model reads "
            "both; the report shows it, of several models side by side.",
        ),
    ] = False,
    lid_model: LidModel = None,
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
        asked_of = ("benchmarks", "languages", "data", "split", "prompts", "limit")
        unused = (name for name in ("model", "only", *GENERATING) if name not in asked_of)
        refuse_ignored(context, unused, "--predictions scores a file, no model is asked")
    elif only is Only.score:
        refuse_ignored(context, GENERATING, "--only score takes the answers that are there")
    elif only is Only.generate:
        refuse_ignored(context, ("lid_model", "seed"), "--only generate scores nothing")
    check_languages(languages)
    chosen = [BENCHMARKS.get(name) for name in _names(benchmarks, None)]
    folder = out or cache_dir() / "evaluations" / _slug(predictions.stem if predictions is not None else model)
    if predictions is not None:
        theirs = Theirs(predictions, _names(benchmarks, None), languages, split, prompts, data, limit)
        take_in(theirs, folder, dry_run=dry_run)
    elif only is not Only.score:
        asked = look_up(model)
        if not asked.is_endpoint:
            refuse_ignored(context, ENDPOINT_ONLY, f"{model} runs here, it is no endpoint")
        chosen = chosen or [BENCHMARKS.get(name) for name in _names(None, asked.recipe) or [DEFAULT_BENCHMARK]]
        chosen = [_with_settings(benchmark, asked.recipe, max_new_tokens, beams) for benchmark in chosen]
        codes = languages or _languages_of(asked.recipe)
        task = Task(chosen, codes, folder, data, split, prompts, answers, limit, modality_gap)
        if only is not Only.generate:
            _check_metrics(chosen)
        if dry_run:
            rehearse(asked, task)
            return
        options = EndpointOptions(key_variable, concurrent, requests_per_minute)
        if not _generate(asked, task, options, resume=resume, device=device, dtype=dtype):
            return
    if dry_run:
        typer.echo(f"would score the predictions in {folder}")
        return
    if only is not Only.generate:
        score(folder, seed or 0, lid_model)


# --- generate --------------------------------------------------------------------------------------------------------


def _generate(asked: Asked, task: Task, options: EndpointOptions, *, resume: bool, device: str, dtype: str) -> bool:
    """Ask the model. Whether this is the process that goes on: of several only the main one."""
    from visiglot.evaluate.answers import ModelAnswerer
    from visiglot.evaluate.generate import collect_predictions
    from visiglot.evaluate.provenance import read_run
    from visiglot.evaluate.sharing import device_of, join_processes

    quiet_libraries()
    share = join_processes()
    answerer = asked.load(device=device_of(share, device), dtype=dtype, options=options)
    if task.modality_gap and not isinstance(answerer, ModelAnswerer):
        raise EvaluationError(
            f"the modality gap of {asked.name} can't be measured: it isn't a model of Visiglot's",
            hint="Leave out --modality-gap: it looks at image tokens and word embeddings, which others don't show.",
        )
    trained = asked.trained()
    for benchmark in (one.opened(task.data) for one in task.benchmarks):
        codes = task.codes(asked, benchmark)
        with progress_bar() as bar:
            line = bar.add_task(benchmark.name, total=None)
            done = collect_predictions(
                answerer,
                benchmark,
                codes,
                task.folder,
                resume=resume,
                split=task.split,
                prompt_set=task.prompts,
                limit=task.limit,
                root=task.data,
                recipe=asked.recipe.name if asked.recipe is not None else "",
                trained=trained,
                command=("visiglot", *sys.argv[1:]),
                answers=task.answers.value,
                share=share,
                progress=_progress(bar, line) if share.main else None,
            )
        if not share.main:
            continue
        say(f"{benchmark.name}: {done.made:,} answers made, {done.kept:,} kept, {done.failed:,} failed")
        if done.dropped:
            say(f"  {done.dropped:,} older answers were made by another model or with other settings: dropped")
        if done.earlier:
            say(f"  {done.earlier:,} more answers, which only earlier commands asked for, are scored with them")
        if done.lacking:
            say(f"  has no examples in {', '.join(done.lacking)}")
        if isinstance(answerer, ModelAnswerer):
            where = {"split": task.split, "prompt_set": task.prompts, "limit": task.limit, "root": task.data}
            answerer.record_routing(benchmark, codes, task.folder, **where)
            if task.modality_gap:
                answerer.record_modality_gap(benchmark, codes, task.folder, **where)
    run = read_run(task.folder) if share.main else None
    asked_now = {benchmark.name for benchmark in task.benchmarks}
    others = [name for name in (run.benchmarks if run is not None else ()) if name.rpartition(".")[0] not in asked_now]
    if others:
        say(f"from earlier commands, scored too: {', '.join(others)}")
    return share.main


def _progress(bar: Progress, task: TaskID) -> Callable[[int, int, int], None]:
    return lambda there, wanted, failed: bar.update(task, completed=there, total=wanted)


def _check_metrics(benchmarks: Sequence[Benchmark]) -> None:
    """Say what scoring needs before hours of answers are made.

    Raises:
        MissingExtraError: a metric's library isn't installed.
    """
    from visiglot.evaluate.metrics import METRICS

    for name in dict.fromkeys(name for one in benchmarks for names in one.metrics.values() for name in names):
        METRICS.get(name).tokenisation()


# --- what the recipe says --------------------------------------------------------------------------------------------


def _names(spec: str | None, recipe: Recipe | None) -> list[str]:
    """The benchmarks asked for, else the recipe's, else the default one."""
    if spec is not None:
        return [name for part in spec.split(",") if (name := part.strip())]
    return list(recipe.evaluate.benchmarks) if recipe is not None else []


def _with_settings(
    benchmark: Benchmark, recipe: Recipe | None, max_new_tokens: int | None, beams: int | None
) -> Benchmark:
    """The benchmark with the settings of generation that the command line gives, else the recipe, else its own.

    Its first prompt set is the recipe's, where it has that.

    Raises:
        UnknownNameError: it is one of the recipe's own benchmarks, and hasn't.
    """
    section = recipe.evaluate if recipe is not None else None
    sets = benchmark.prompt_sets
    if section is not None and section.prompts and (section.prompts in sets or benchmark.name in section.benchmarks):
        first = benchmark.choose("prompt set", section.prompts)
        sets = (first, *(name for name in sets if name != first))
    changes: dict[str, int] = {}
    for key, asked in (("max_new_tokens", max_new_tokens), ("beams", beams)):
        value = asked if asked is not None or section is None else getattr(section, key)
        if value is not None:
            changes[key] = value
    return replace(benchmark, prompt_sets=sets, settings=replace(benchmark.settings, **changes))


def _languages_of(recipe: Recipe | None) -> str:
    if recipe is None or recipe.evaluate.languages is None:
        return "all"
    own = recipe.evaluate.languages
    return own if isinstance(own, str) else ",".join(own)


def _slug(name: str) -> str:
    """A folder name for a model's name: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "model"
