"""The runs that the built-in models come from: finished ones only, with what their recipes and logs say."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from visiglot.config import Recipe, load_recipe
from visiglot.errors import CheckpointError, TrainingError
from visiglot.models.runs import Checkpoint, checkpoints, end_of, runs_dir
from visiglot.train.checkpoint import check_contents


@dataclass(frozen=True)
class FinishedRun:
    """A run whose last checkpoint is the end of its recipe, its files checked by their hashes.

    Args:
        seconds: by stage, summed over the log's windows.
    """

    folder: Path
    recipe: Recipe
    checkpoint: Checkpoint
    seconds: dict[str, float]

    @property
    def model(self) -> Path:
        return self.checkpoint.model


def read_finished_run(name: str) -> FinishedRun:
    """The run of that name in the cache, or in that folder when `name` is a path.

    Raises:
        TrainingError: there is no such run, or it isn't finished.
        CheckpointError: a file of its last checkpoint changed since it was written, or its log can't be read.
    """
    folder = Path(name).expanduser() if os.sep in name else runs_dir() / name
    found = checkpoints(folder)
    if not found:
        raise TrainingError(
            f"{folder} is no run with a complete checkpoint",
            hint="Train what is missing: `make nano-pretrain` for the towers, `visiglot train nano` for the model.",
        )
    last = found[-1]
    end = end_of(last)
    if end is None or last.position != end:
        raise TrainingError(
            f"{folder} isn't finished: its last checkpoint is {last.folder.name}",
            hint="Let its training go on: `visiglot train` resumes it.",
        )
    check_contents(last)
    recipe = load_recipe(str(last.trainer / "recipe.yaml"))
    return FinishedRun(folder, recipe, last, _seconds(folder / "log.jsonl", recipe))


def _seconds(path: Path, recipe: Recipe) -> dict[str, float]:
    """Raises CheckpointError unless every stage of the recipe is in the log to its end."""
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            stage = record["stage"]
            seconds[stage] = seconds.get(stage, 0.0) + record["seconds"]
            steps[stage] = record["step"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path} can't be read as a run's log: {error}", hint="Train the run anew.") from error
    short = [stage.name for stage in recipe.stages if steps.get(stage.name) != stage.steps]
    if short:
        raise CheckpointError(f"{path} doesn't reach the end of {', '.join(short)}", hint="Train the run anew.")
    return {stage.name: seconds[stage.name] for stage in recipe.stages}
