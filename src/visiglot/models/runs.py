"""Where a name leads: a run folder's last complete checkpoint, a model folder, the built-in model, or a hub id.

A run folder holds checkpoints/<stage>-<step>/{manifest.json, model/, trainer/}. A checkpoint is complete when its
manifest is there, for it is written last and the folder renamed after it.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

from visiglot.config import cache_dir
from visiglot.errors import CheckpointError, nearest

HUB_ID = re.compile(r"^[\w][\w.-]*/[\w][\w.-]*$")
BUILT_IN = "nano"


def runs_dir() -> Path:
    return cache_dir() / "runs"


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first (by stage, then step)."""
    found: list[tuple[int, int, Path]] = []
    for manifest in (run / "checkpoints").glob("[!.]*/manifest.json"):
        try:
            values = json.loads(manifest.read_text(encoding="utf-8"))
            found.append((int(values["stage_index"]), int(values["step"]), manifest.parent))
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{manifest}: is no checkpoint manifest ({error})", hint=f"Remove {manifest.parent} and go on."
            ) from error
    return [path for _, _, path in sorted(found)]


def resolve_model(name: str) -> str:
    """The folder or hub id that `name` stands for, ready for `from_pretrained`.

    In this order: a folder (of a model, a checkpoint or a run), a run by its name, `nano`, a hub id.

    Raises:
        CheckpointError: nothing of the kind exists; says what was looked for.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return str(model_folder(path))
    run = runs_dir() / name
    if re.fullmatch(r"[\w.-]+", name) and run.is_dir():
        return str(model_folder(run))
    if name == BUILT_IN:
        shipped = resources.files("visiglot.nano") / "model"
        if shipped.is_dir():
            return str(shipped)
        raise CheckpointError(
            f"the built-in model {name!r} isn't trained yet: no run {run}",
            hint="Train it with `make demo`, or `visiglot train nano-english`, `nano-lm` and `nano` in turn.",
        )
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


def model_folder(path: Path) -> Path:
    """The folder with config.json below a model, checkpoint or run folder.

    Raises:
        CheckpointError: there is none.
    """
    if (path / "config.json").is_file():
        return path
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if (path / "checkpoints").is_dir():
        complete = checkpoints(path)
        if complete:
            return complete[-1] / "model"
        raise CheckpointError(
            f"the run {path} has no complete checkpoint yet", hint="Let its training go on: `visiglot train`."
        )
    raise CheckpointError(
        f"{path} holds no model: neither config.json, nor model/, nor checkpoints/",
        hint="Name the folder that holds config.json, or a run folder.",
    )
