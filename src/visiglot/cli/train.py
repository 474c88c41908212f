"""`visiglot train`: a recipe becomes a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visiglot.cli.console import quiet_libraries, say
from visiglot.cli.options import MACHINE, OUTPUT, Device, DryRun, Resume

if TYPE_CHECKING:
    from visiglot.config import Recipe


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
    resume: Resume = True,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Delete the run that is there (checkpoints, logs) and start anew.", rich_help_panel=OUTPUT
        ),
    ] = False,
    dry_run: DryRun = False,
    device: Device = "auto",
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of everything random; the same as train.seed=N.", rich_help_panel=MACHINE),
    ] = None,
) -> None:
    """Train a recipe: assemble the model, run its stages, write checkpoints.

    A run that was stopped goes on from its last checkpoint; one that is finished is left as it is. A run of another
    recipe in the same place is never touched without --fresh.
    """
    from visiglot.config import cache_dir, load_recipe

    changes = [*(overrides or []), *([f"train.seed={seed}"] if seed is not None else [])]
    resolved = load_recipe(recipe, changes)
    folder = out or cache_dir() / "runs" / resolved.name
    if dry_run:
        _rehearse(resolved, folder, device)
        return
    quiet_libraries()
    from visiglot.train.loop import fit

    if fresh:
        _delete_run(folder)
    fit(resolved, out=folder, resume=resume and not fresh, device=device)
    typer.echo(str(folder))
    say(f"Next: visiglot evaluate {resolved.name if out is None else folder}")


def _rehearse(recipe: Recipe, folder: Path, device: str) -> None:
    """Say what would be trained on what; parts that must be fetched first are named, not built."""
    from visiglot.cli.data import print_plan
    from visiglot.cli.recipes import describe_parts_of, hub_ids

    typer.echo(f"recipe {recipe.name}: would be trained in {folder}")
    for line in describe_parts_of(recipe):
        typer.echo(f"  {line}")
    print_plan(recipe)
    remote = hub_ids(recipe)
    if remote:
        typer.echo(f"Not built in a dry run, since they'd be fetched from the hub: {', '.join(remote)}")
        return
    quiet_libraries()
    from visiglot.train.loop import fit

    fit(recipe, out=folder, resume=True, device=device, dry_run=True)


def _delete_run(folder: Path) -> None:
    """Delete what a run wrote, and nothing else that may lie in the folder."""
    from visiglot.train.checkpoint import owned

    if not folder.is_dir():
        return
    with owned(folder):
        if (folder / "checkpoints").is_dir():
            shutil.rmtree(folder / "checkpoints")
        for name in ("recipe.yaml", "log.jsonl", "ledger.jsonl"):
            (folder / name).unlink(missing_ok=True)
