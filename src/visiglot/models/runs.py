"""Where a name leads: a checkpoint of a run (its last complete one, or its best), a model folder, a model of the
package, or a hub id.

A run folder holds checkpoints/<stage>-<step>/{manifest.json, model/, trainer/}. A checkpoint is complete when its
manifest is there, which is written last, and every file has the size that it states.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from visiglot.config import cache_dir
from visiglot.config.model import WEIGHTS_FILES
from visiglot.errors import CheckpointError, Notice, nearest

MANIFEST = "manifest.json"
BEST = "best"
"""Behind a run's name or folder: of its checkpoints the best, see `best_of`."""
FILES = (*WEIGHTS_FILES, ".yaml", ".yml")
"""How files end that may stand for a model or a part of one."""
HUB_ID = re.compile(r"^[\w][\w.-]*/[\w][\w.-]*$")
SHIPPED: Mapping[str, str] = {"nano": "model", "nano-english": "english", "nano-lm": "lm"}
"""Names of the models that come with the package, and their folders there."""


@dataclass(frozen=True, order=True)
class Position:
    """How far a run has come: stage `stage_index` has made `step` steps."""

    stage_index: int
    step: int


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    position: Position
    stage: str
    manifest: Mapping[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def trainer(self) -> Path:
        return self.folder / "trainer"

    @property
    def held_out_loss(self) -> float | None:
        """Mean over the supervised tokens of the held-out examples, where they were asked at its step."""
        validation = self.manifest.get("validation")
        return None if validation is None else float(validation["loss"])


def runs_dir() -> Path:
    return cache_dir() / "runs"


def checkpoints(run: Path) -> list[Checkpoint]:
    """The checkpoints of a run that are complete, oldest first: their manifest is there and every file has its size."""
    found = []
    for path in sorted((run / "checkpoints").glob(f"[!.]*/{MANIFEST}")):
        checkpoint = _read(path)
        if checkpoint is not None:
            found.append(checkpoint)
    return sorted(found, key=lambda checkpoint: checkpoint.position)


def incomplete(run: Path) -> list[Path]:
    """Folders of a run's checkpoints whose manifest is there but of which a file is missing or cut short."""
    manifests = sorted((run / "checkpoints").glob(f"[!.]*/{MANIFEST}"))
    return [path.parent for path in manifests if _read(path) is None]


def best_of(found: Sequence[Checkpoint]) -> Checkpoint | None:
    """The checkpoint with the lowest held-out loss, the older of equals; None where none was measured.

    Only those of the last stage that was measured are compared: stages differ in data and objective, and so in what
    their losses mean.
    """
    measured = [one for one in found if one.held_out_loss is not None]
    last = max((one.position.stage_index for one in measured), default=None)
    of_last = [one for one in measured if one.position.stage_index == last]
    return min(of_last, key=lambda one: (one.held_out_loss, one.position), default=None)


def last_complete(run: Path) -> Path | None:
    """The folder of the newest complete checkpoint of a run; None when there is none."""
    found = checkpoints(run)
    return found[-1].folder if found else None


def checkpoint_of(model: Path) -> Checkpoint | None:
    """The complete checkpoint that a model's folder lies in; None when it lies in none."""
    return _read(model.parent / MANIFEST)


def _read(manifest: Path) -> Checkpoint | None:
    """The checkpoint a manifest describes; None when it isn't one, is cut short, or a file lacks bytes."""
    try:
        described = json.loads(manifest.read_text(encoding="utf-8"))
        whole = described["complete"] is True and all(
            (manifest.parent / name).stat().st_size == file["bytes"] for name, file in described["files"].items()
        )
        position = Position(int(described["stage_index"]), int(described["step"]))
        return Checkpoint(manifest.parent, position, described["stage"], described) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def nano_folder() -> Path:
    """Where the package keeps the models that come with it."""
    return Path(str(resources.files("visiglot"))) / "nano"


def shipped_model(name: str) -> Path | None:
    """The folder of a model that came with this installation; None when there is none of that name."""
    if name not in SHIPPED:
        return None
    folder = nano_folder() / SHIPPED[name]
    return folder if (folder / "config.json").is_file() else None


def resolve_model(name: str) -> str:
    """The folder or hub id that `name` stands for, ready for `from_pretrained`.

    In this order: a file of weights, or a YAML file that names parts; a path, when it has a separator ("./nano",
    "runs/mine") or is "." or ".."; a run by its name; a model that comes with the package; a folder of the working
    directory; a hub id. So a folder that happens to lie there never replaces a run. A run that isn't finished doesn't
    hide a model of the package; a notice says so, once. "/best" behind a run's path or name is the best of its
    checkpoints, see `best_of`; without it, a run is its last.

    Raises:
        CheckpointError: nothing of the kind exists; says what was looked for.
    """
    path = Path(name).expanduser()
    bare = re.fullmatch(r"[\w.-]+", name) is not None and name not in (".", "..")
    if path.name.endswith(FILES) and path.is_file():
        return str(path)
    if not bare and path.is_dir():
        return str(model_folder(path))
    if path.name == BEST and (of_run := _run_of_best(path)) is not None:
        return str(_best_model(of_run))
    run = runs_dir() / name
    shipped = shipped_model(name)
    if bare and run.is_dir():
        why = None if shipped is None else _why_unfinished(run)
        if why is None:
            return str(model_folder(run))
        _notify(f"the run {run} {why}, so {name!r} is the model that came with Visiglot; the run's path names the run")
    if shipped is not None:
        return str(shipped)
    if name in SHIPPED:
        command = "make demo" if name == "nano" else "make nano-pretrain"
        raise CheckpointError(
            f"the built-in model {name!r} isn't trained yet: no run {run}, and none came with this installation",
            hint=f"Train it with `{command}`, or `visiglot train {name}`.",
        )
    if path.is_dir():
        return str(model_folder(path))
    if HUB_ID.match(name):
        return name
    known = sorted(entry.name for entry in runs_dir().iterdir()) if runs_dir().is_dir() else []
    close = nearest(name, known)
    raise CheckpointError(
        f"no model {name!r}: it is no folder, no run in {runs_dir()} and no hub id",
        hint=f"Did you mean the run {' or '.join(map(repr, close))}?"
        if close
        else f"Runs there: {', '.join(known) or 'none'}. `visiglot train NAME` makes one.",
    )


def _run_of_best(path: Path) -> Path | None:
    """The run whose best checkpoint a path ending in "best" asks for; None where there is no such run."""
    runs = (path.parent, *([runs_dir() / path.parent] if len(path.parts) == 2 else []))
    return next((run for run in runs if (run / "checkpoints").is_dir()), None)


def _best_model(run: Path) -> Path:
    best = best_of(checkpoints(run))
    if best is None:
        raise CheckpointError(
            f"no checkpoint of the run {run} is its best: none was measured on held-out examples",
            hint=f"Name the run without /{BEST} for its last one; data.holdout has examples held out of training.",
        )
    return best.model


def _why_unfinished(run: Path) -> str | None:
    """What keeps a run from being the model of its name; None when it holds one that nobody knows to be unfinished."""
    if (run / "config.json").is_file() or (run / "model" / "config.json").is_file():
        return None
    found = checkpoints(run)
    if not found:
        return "has no complete checkpoint yet"
    end = end_of(found[-1])
    if end is None or found[-1].position >= end:
        return None
    return f"is at step {found[-1].position.step:,} of stage {found[-1].stage!r} and not finished"


def end_of(checkpoint: Checkpoint) -> Position | None:
    """Where the recipe of a checkpoint ends; None where there is none beside it."""
    path = checkpoint.trainer / "recipe.yaml"
    if not path.is_file():
        return None
    try:  # not through the schema: an older recipe says where it ends too
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
        return Position(len(stages) - 1, int(stages[-1]["steps"]))
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} can't be read as a recipe: {error}",
            hint="Delete that checkpoint's folder; the one before it then counts.",
        ) from error


@cache
def _notify(text: str) -> None:
    """Say it once in a process."""
    warnings.warn(text, Notice, stacklevel=4)


def model_folder(path: Path) -> Path:
    """The folder with config.json below a model, checkpoint or run folder; an adapter's own folder.

    Raises:
        CheckpointError: there is none.
    """
    if (path / "config.json").is_file() or any(path.glob("adapter_*")):
        return path
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if (path / "checkpoints").is_dir():
        last = last_complete(path)
        if last is not None:
            return last / "model"
        raise CheckpointError(
            f"the run {path} has no complete checkpoint yet", hint="Let its training go on: `visiglot train`."
        )
    raise CheckpointError(
        f"{path} holds no model: neither config.json, nor model/, nor checkpoints/",
        hint="Name the folder that holds config.json, or a run folder.",
    )
