"""A run on disk: what it goes on from, and what a checkpoint holds beside the model."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from visiglot.config import Recipe, dump_recipe, load_recipe
from visiglot.environment import commit, versions
from visiglot.errors import CheckpointError, TrainingError
from visiglot.files import write_text
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.runs import Checkpoint, Position, checkpoints
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.checkpoint import check_contents, clean_leftovers, save_checkpoint
from visiglot.train.objectives import Objective

if TYPE_CHECKING:
    from accelerate import Accelerator

    from visiglot.train.stages import Stage

MAY_CHANGE = ("log_every", "save_every", "keep", "on_bad", "max_bad")
"""Keys of `train` that a resumed run may set anew, since they change no weight that was reached with the others."""

MAY_CHANGE_IN_STAGES = ("validate_every",)
"""Likewise of each stage."""


@dataclass
class Run:
    """A run and how far it is.

    Args:
        start: where it goes on.
        checkpoint: that it goes on from; None for a new run.
        tokens: read so far.
    """

    recipe: Recipe
    folder: Path
    start: Position
    checkpoint: Checkpoint | None
    tokens: int = 0

    @property
    def finished(self) -> bool:
        last = len(self.recipe.stages) - 1
        return self.start == Position(last, self.recipe.stages[last].steps)

    def restore(self, stage_index: int, objective: Objective, optimiser: torch.optim.Optimizer) -> int:
        """Fill objective and optimiser when this stage was under way; the step to go on with.

        Raises:
            CheckpointError: the checkpoint's trainer/ can't be read.
        """
        if self.checkpoint is None or stage_index != self.start.stage_index or self.start.step == 0:
            return 0
        trainer = self.checkpoint.trainer
        try:
            objective.load_state_dict(load_file(trainer / "objective.safetensors"))
            optimiser.load_state_dict(torch.load(trainer / "optimizer.pt", map_location="cpu", weights_only=True))
        except Exception as error:  # safetensors and torch raise several kinds for a broken file
            raise CheckpointError(
                f"{trainer} can't be read: {error}",
                hint="Delete that checkpoint's folder; --resume then takes the one before it.",
            ) from error
        return self.start.step

    def save(
        self,
        stage: Stage,
        position: Position,
        model: VisionLanguageModel,
        processor: VisiglotProcessor,
        optimiser: torch.optim.Optimizer,
        accelerator: Accelerator,
    ) -> None:
        """Write a checkpoint. A stage's last one has no optimiser, for the next stage starts its own.

        Raises:
            CheckpointError: it can't be written; the one before is kept.
        """
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:

            def write(folder: Path) -> None:
                with _no_progress_bars():
                    model.save_pretrained(folder / "model")
                processor.save_pretrained(folder / "model")
                trainer = folder / "trainer"
                trainer.mkdir()
                (trainer / "recipe.yaml").write_text(dump_recipe(self.recipe), encoding="utf-8")
                (trainer / "state.json").write_text(json.dumps({"tokens": self.tokens}) + "\n", encoding="utf-8")
                if position.step < stage.section.steps:
                    state = {name: tensor.contiguous() for name, tensor in stage.objective.state_dict().items()}
                    save_file(state, trainer / "objective.safetensors")
                    # through memory, since torch.save to a full disk doesn't say why it failed
                    packed = io.BytesIO()
                    torch.save(optimiser.state_dict(), packed)
                    (trainer / "optimizer.pt").write_bytes(packed.getbuffer())

            save_checkpoint(
                self.folder,
                stage.section.name,
                position,
                write,
                about={"recipe_hash": recipe_hash(self.recipe), "commit": commit(), "versions": versions()},
                keep=self.recipe.train.keep,
            )
        accelerator.wait_for_everyone()


def open_run(recipe: Recipe, folder: Path, *, resume: bool, dry_run: bool, main: bool) -> Run:
    """Find where a run starts, and write its recipe.

    Args:
        main: whether this process writes.

    Raises:
        TrainingError: the folder holds a run already and `resume` isn't asked for, or holds that of another recipe.
        CheckpointError: the last checkpoint is corrupt, or the folder can't be written.
    """
    found = checkpoints(folder)
    if found and not resume and not dry_run:
        raise TrainingError(
            f"{folder} holds a run already (last checkpoint: {found[-1].folder.name})",
            hint="Go on with --resume, name another --out, or delete the folder.",
        )
    if main and not dry_run:
        clean_leftovers(folder)
    if not found or not resume:
        if main and not dry_run:
            write_text(dump_recipe(recipe), folder / "recipe.yaml", error=CheckpointError)
        return Run(recipe, folder, Position(0, 0), None)
    last = found[-1]
    _check_recipe(recipe, folder, last)
    check_contents(last)
    state = json.loads((last.trainer / "state.json").read_text(encoding="utf-8"))
    return Run(recipe, folder, last.position, last, tokens=state["tokens"])


def recipe_hash(recipe: Recipe) -> str:
    """Hash of all that decides the weights."""
    values = recipe.model_dump(
        mode="json",
        by_alias=True,
        exclude={
            "train": set(MAY_CHANGE),
            "stages": {"__all__": set(MAY_CHANGE_IN_STAGES)},
            "evaluate": True,
            "about": True,
        },
    )
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Without transformers' own bars, which would break into the run's progress line."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_recipe(recipe: Recipe, folder: Path, last: Checkpoint) -> None:
    if last.manifest["recipe_hash"] == recipe_hash(recipe):
        return
    before = load_recipe(str(last.trainer / "recipe.yaml"))
    if recipe_hash(before) == recipe_hash(recipe):  # written when recipes had fewer keys
        return
    differences = _differences(
        before.model_dump(mode="json", by_alias=True), recipe.model_dump(mode="json", by_alias=True)
    )
    shown = "; ".join(differences[:5])
    raise TrainingError(
        f"{folder} was trained with another recipe: {shown}{'; …' if len(differences) > 5 else ''}",
        hint="Resume with the recipe it was started with (recipe.yaml in that folder), or name another --out.",
    )


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The leaves where two resolved recipes differ, `path: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for index, pair in enumerate(zip(old, new, strict=True))
            for line in _differences(*pair, f"{path}.{index}")
        ]
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]
