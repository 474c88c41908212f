"""`visiglot train`: a recipe becomes a run."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import quiet_libraries, say
from visiglot.cli.options import MACHINE, OUTPUT, Device, DryRun, Seed
from visiglot.errors import ConfigError, DataError

if TYPE_CHECKING:
    from visiglot.config import Recipe


RUN_FILES = ("recipe.yaml", "log.jsonl", "ledger.jsonl")
RUN_FOLDERS = ("checkpoints", "tensorboard")
RUN_LOCK = "run.lock"


class Precision(StrEnum):
    """Values of train.precision."""

    fp32 = "fp32"
    bf16 = "bf16"
    auto = "auto"


class OnBad(StrEnum):
    """Values of train.on_bad."""

    error = "error"
    skip = "skip"


def train(
    recipe: Annotated[
        str, typer.Argument(help="A built-in recipe (`visiglot recipes ls`) or the path of a .yaml file.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Values to change, by dotted path: stages.1.lr=2e-4", metavar="PATH=VALUE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The run folder. Default: runs/<name of the recipe> in the cache.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Go on with the run that is there. With --no-resume one that is there is an error.",
            rich_help_panel=OUTPUT,
        ),
    ] = True,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Delete the run that is there (checkpoints, logs) and start anew.", rich_help_panel=OUTPUT
        ),
    ] = False,
    on_bad: Annotated[
        OnBad | None,
        typer.Option(
            "--on-bad",
            help="What a row or a picture that can't be read does: stop the run, or be left out and counted in the "
            "run's ledger, up to the share train.max_bad; the same as train.on_bad=... Default: the recipe's.",
        ),
    ] = None,
    only_features: Annotated[
        bool,
        typer.Option(
            "--only-features",
            help="Fill the feature caches of stages with cache_views, and train nothing. Processes share the work.",
        ),
    ] = False,
    dry_run: DryRun = False,
    device: Device = "auto",
    dtype: Annotated[
        Precision | None,
        typer.Option(
            "--dtype",
            help="Number format of the computation; the same as train.precision=... Default: the recipe's.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    seed: Seed = None,
) -> None:
    """Train a recipe: assemble the model, run its stages, write checkpoints.

    A run that was stopped goes on from its last checkpoint; one that is finished is left as it is. A run of another
    recipe in the same place is never touched without --fresh, which deletes it once the new one is known to start. With
    --no-resume a run that is there is an error.

    Several processes train together when torchrun, accelerate launch, deepspeed or srun starts them.
    """
    from visiglot.config import cache_dir, load_recipe
    from visiglot.train.launch import detect_launch

    main = detect_launch().rank == 0

    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"train.seed={seed}")
    if dtype is not None:
        changes.append(f"train.precision={dtype.value}")
    if on_bad is not None:
        changes.append(f"train.on_bad={on_bad.value}")
    resolved = load_recipe(recipe, changes)
    folder = out or cache_dir() / "runs" / resolved.name
    if not only_features:
        refuse_foreign_run(folder)
    if dry_run:
        _rehearse(resolved, folder, device)
        return
    quiet_libraries()
    if only_features:
        from visiglot.train.filling import fill_caches

        fill_caches(resolved, device=device)
        return
    from visiglot.data.pictured import open_sources
    from visiglot.data.progress import telling
    from visiglot.train.loop import fit

    with telling(say):
        for _ in open_sources(resolved):
            pass  # a language that a later stage's data lack is said now, and not when that stage begins
    if fresh and (folder / RUN_LOCK).is_file():
        from visiglot.train.track import Tracker

        if main:
            say("rehearsing: the run that is there is deleted only once the new one is known to start")
        aside = folder.with_name(f".{folder.name}.fresh")
        fit(resolved, out=aside, resume=False, device=device, dry_run=True, report=Tracker())
        _delete_run_of_all(folder)
    fit(resolved, out=folder, resume=resume and not fresh, device=device)
    if not main:
        return
    typer.echo(str(folder))
    say(f"Next: visiglot evaluate {resolved.name if out is None else folder}")


def _delete_run_of_all(folder: Path) -> None:
    """Have the main process delete a run. All processes call this at once; see `_delete_run`."""
    from accelerate import PartialState

    from visiglot.train.ending import ending_together

    processes = PartialState()
    with ending_together(processes):
        if processes.is_main_process:
            _delete_run(folder)


def _rehearse(recipe: Recipe, folder: Path, device: str) -> None:
    """Say what would be trained on what; parts that must be fetched first are named, not built.

    Raises:
        ConfigError, DataError: what training would raise.
    """
    from visiglot.cli.datasets.plan import print_plan
    from visiglot.cli.recipe_check import problems_of
    from visiglot.cli.recipe_summary import memory_by_part
    from visiglot.cli.recipes import describe_parts_of, hub_ids
    from visiglot.data.licences import permitted
    from visiglot.data.opening import refuse_untranslated
    from visiglot.train.launch import detect_launch

    quiet_libraries()
    if problems := problems_of(recipe):
        raise ConfigError(f"recipe {recipe.name}", problems)
    typer.echo(f"recipe {recipe.name}: would be trained in {folder}")
    for line in describe_parts_of(recipe):
        typer.echo(f"  {line}")
    print_plan(recipe)
    for stage in recipe.stages:
        refuse_untranslated(permitted(stage.data or recipe.data))
    for line in memory_by_part(recipe, detect_launch().processes):
        typer.echo(line)
    remote = hub_ids(recipe)
    if remote:
        typer.echo(f"Not built in a dry run, since they'd be fetched from the hub: {', '.join(remote)}")
        return
    from visiglot.train.loop import fit

    fit(recipe, out=folder, resume=True, device=device, dry_run=True)


def refuse_foreign_run(folder: Path) -> None:
    """Let a run write over what a run wrote, and over nothing that only has the same names.

    Raises:
        DataError: the folder has such files, but no run was ever trained in it; or it, or one above it, is a file.
    """
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if nearest is not None and not nearest.is_dir():
        raise DataError(f"{nearest} is a file, so there can be no run in {folder}", hint="Name a folder as --out.")
    there = [name for name in ("checkpoints", *RUN_FILES) if (folder / name).exists()]
    if there and not (folder / RUN_LOCK).is_file():
        raise DataError(
            f"{folder} holds {', '.join(there)}, but no {RUN_LOCK}: no run of Visiglot was trained there",
            hint="Name another --out, or delete them yourself.",
        )


def _delete_run(folder: Path) -> None:
    """Delete what a run wrote, and nothing else that may lie in the folder.

    Raises:
        TrainingError: the run is being trained.
        DataError: something can't be deleted.
    """
    from visiglot.train.checkpoint import owned

    with owned(folder):
        try:
            for name in RUN_FOLDERS:
                if (folder / name).is_dir():
                    shutil.rmtree(folder / name)
            for path in (*(folder / name for name in RUN_FILES), *folder.glob("failed-*")):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"{folder} can't be emptied: {error.strerror or error}", hint="Name another --out."
            ) from error
