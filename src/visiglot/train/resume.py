"""A run on disk: what it goes on from, and what a checkpoint holds beside the model."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from visiglot.config import Recipe, dump_recipe, load_recipe
from visiglot.environment import commit, versions
from visiglot.errors import CheckpointError, Notice, TrainingError
from visiglot.files import write_text
from visiglot.models.checkpoint.named import is_named, write_named
from visiglot.models.checkpoint.stock import without_bars
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.runs import Checkpoint, Position, checkpoints, incomplete
from visiglot.models.vlm import VisionLanguageModel
from visiglot.train.checkpoint import check_contents, clean_leftovers, save_checkpoint, set_aside
from visiglot.train.costs import Costs
from visiglot.train.frozen import Named, named_parts
from visiglot.train.objectives import Objective
from visiglot.train.sharding import Updates, whole_state

if TYPE_CHECKING:
    from accelerate import Accelerator

    from visiglot.train.stages import Stage

OBJECTIVE = "objective.safetensors"
"""In a checkpoint's trainer/: what its stage's objective has of its own."""

LONG = 80
"""Characters of a list or mapping beyond which an error doesn't print it."""

MAY_CHANGE = ("log_every", "save_every", "keep", "on_bad", "max_bad", "sharding", "track", "save_frozen")
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
        named: what its checkpoints leave out.
    """

    recipe: Recipe
    folder: Path
    start: Position
    checkpoint: Checkpoint | None
    tokens: int = 0
    named: Named = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.ends_at(self.start)

    def ends_at(self, position: Position) -> bool:
        """Whether that is the end of its last stage."""
        return position == Position(len(self.recipe.stages) - 1, self.recipe.stages[-1].steps)

    def first_step(self, stage_index: int) -> int:
        """The step that a stage goes on with; not 0 only if it was under way."""
        under_way = self.checkpoint is not None and stage_index == self.start.stage_index
        return self.start.step if under_way else 0

    def restore_objective(self, stage_index: int, objective: Objective) -> None:
        """Fill the objective if its stage was under way. Raises CheckpointError: it can't be read."""
        if self.first_step(stage_index):
            with self._reading() as trainer:
                objective.load_state_dict(load_file(trainer / OBJECTIVE))

    def restore_optimiser(self, stage_index: int, updates: Updates) -> None:
        """Fill the optimiser if its stage was under way. Raises CheckpointError: it can't be read."""
        if self.first_step(stage_index):
            with self._reading() as trainer:
                updates.load(trainer / "optimizer.pt")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Path]:
        assert self.checkpoint is not None
        trainer = self.checkpoint.trainer
        try:
            yield trainer
        except Exception as error:  # safetensors and torch raise several kinds for a broken file
            raise CheckpointError(
                f"{trainer} can't be read: {error}",
                hint="Delete that checkpoint's folder; --resume then takes the one before it.",
            ) from error

    def describe_processes(self, stage: Stage, processes: int) -> list[str]:
        """A line about a stage under way that goes on in another number of processes; none where that is no other.

        A step's rows, and what its loss is divided by, don't depend on the number of processes.

        Raises:
            TrainingError: the objective compares the rows of a forward pass, which would be other rows.
        """
        if self.checkpoint is None or not self.first_step(stage.index):
            return []
        before = self.checkpoint.manifest.get("processes", processes)
        if before == processes:
            return []
        if not stage.objective.any_split:
            raise TrainingError(
                f"stage {stage.section.name} is under way in {before} process(es) and can't go on in {processes}: "
                f"objective {stage.section.objective} compares the rows of a forward pass, and they'd be others",
                hint=f"Go on with {before} process(es) until the stage ends.",
            )
        return [
            f"  going on in {processes} process(es), before in {before}: the same rows and divisor in each step, so "
            "the same path up to the rounding of sums; what is drawn in a forward pass (dropout) is drawn otherwise"
        ]

    def save(
        self,
        stage: Stage,
        position: Position,
        model: VisionLanguageModel,
        processor: VisiglotProcessor,
        updates: Updates,
        accelerator: Accelerator,
        costs: Costs | None = None,
    ) -> None:
        """Write a checkpoint. A stage's last one has no optimiser, for the next stage starts its own; what the
        objective learned stays with it, since a model embeds by it (`visiglot.train.projections`).

        Args:
            costs: of the held-out examples, where they were asked at this step.

        Raises:
            CheckpointError: it can't be written; the one before is kept.
        """
        accelerator.wait_for_everyone()
        main, unfinished = accelerator.is_main_process, position.step < stage.section.steps
        whole = whole_state(model, main=main)
        if main and self.named:
            whole = {name: one for name, one in (whole or model.state_dict()).items() if not is_named(name, self.named)}
        own = whole_state(stage.objective, main=main) or stage.objective.state_dict()
        optimiser_state = updates.state_dict(main=main) if unfinished else None
        if main:

            def write(folder: Path) -> None:
                with without_bars():  # which would break into the run's progress line
                    model.save_pretrained(folder / "model", state_dict=whole)
                if self.named:
                    write_named(folder / "model", self.named)
                processor.save_pretrained(folder / "model")
                trainer = folder / "trainer"
                trainer.mkdir()
                (trainer / "recipe.yaml").write_text(dump_recipe(self.recipe), encoding="utf-8")
                (trainer / "state.json").write_text(json.dumps({"tokens": self.tokens}) + "\n", encoding="utf-8")
                save_file({name: tensor.contiguous() for name, tensor in own.items()}, trainer / OBJECTIVE)
                if optimiser_state is not None:
                    # through memory, since torch.save to a full disk doesn't say why it failed
                    packed = io.BytesIO()
                    torch.save(optimiser_state, packed)
                    (trainer / "optimizer.pt").write_bytes(packed.getbuffer())

            save_checkpoint(
                self.folder,
                stage.section.name,
                position,
                write,
                about={
                    "recipe_hash": recipe_hash(self.recipe),
                    "processes": accelerator.num_processes,
                    "commit": commit(),
                    "versions": versions(),
                    "validation": None if costs is None else asdict(costs.overall()) | {"loss": costs.overall().mean},
                },
                keep=self.recipe.train.keep,
            )
        accelerator.wait_for_everyone()


def open_run(recipe: Recipe, folder: Path, *, resume: bool, dry_run: bool, main: bool) -> Run:
    """Find where a run starts, and write its recipe.

    A checkpoint whose files aren't what was saved is set aside, with a notice, and the one before it gone on from.

    Args:
        main: whether this process writes.

    Raises:
        TrainingError: the folder holds a run already and `resume` isn't asked for, or holds that of another recipe.
        CheckpointError: no checkpoint is intact, the folder can't be written, or the processes see different ones.
    """
    found = checkpoints(folder)
    if found and not resume and not dry_run:
        raise TrainingError(
            f"{folder} holds a run already (last checkpoint: {found[-1].folder.name})",
            hint="Go on with --resume, name another --out, or delete the folder.",
        )
    if main and not dry_run:
        clean_leftovers(folder)
    last = _go_on_from(found, folder, main=main, dry_run=dry_run) if resume else None
    if last is None:
        if main and not dry_run:
            write_text(dump_recipe(recipe), folder / "recipe.yaml", error=CheckpointError)
        named = named_parts(recipe, None) if main else {}
        return Run(recipe, folder, Position(0, 0), None, named=named)
    _check_recipe(recipe, folder, last)
    state = json.loads((last.trainer / "state.json").read_text(encoding="utf-8"))
    return Run(recipe, folder, last.position, last, tokens=state["tokens"], named=named_parts(recipe, last))


def _go_on_from(found: Sequence[Checkpoint], folder: Path, *, main: bool, dry_run: bool) -> Checkpoint | None:
    """The newest of a run's checkpoints that is intact, which the main process looks for; None where there are none."""
    from accelerate.utils import broadcast_object_list

    chosen = None
    if main:
        for torn in incomplete(folder):
            if not found:
                raise CheckpointError(
                    f"{torn} isn't whole: a file that its manifest names is missing or cut short",
                    hint="No other checkpoint is there; put it right, or start anew with --fresh or another --out.",
                )
            warnings.warn(Notice(f"{torn} isn't whole, and is passed over"), stacklevel=2)
        chosen = last_intact(found, dry_run=dry_run) if found else None
    (name,) = broadcast_object_list([chosen.folder.name if chosen is not None else None])
    last = next((one for one in found if one.folder.name == name), None)
    if name is not None and last is None:
        raise CheckpointError(
            f"a process doesn't see {folder / 'checkpoints' / name}, which the first one goes on from",
            hint="Let all machines see the run's folder, or copy it to each.",
        )
    return last


def last_intact(found: Sequence[Checkpoint], *, dry_run: bool = False) -> Checkpoint:
    """The newest checkpoint all of whose files are what was saved; newer ones are set aside, with a notice each.

    Args:
        found: oldest first, at least one.

    Raises:
        CheckpointError: none is intact, and nothing was set aside.
    """
    corrupt: list[tuple[Checkpoint, CheckpointError]] = []
    for checkpoint in reversed(found):
        try:
            check_contents(checkpoint)
        except CheckpointError as error:
            corrupt.append((checkpoint, error))
            continue
        for one, reason in corrupt:
            where = "" if dry_run else f", kept as {set_aside(one).name}"
            warnings.warn(
                Notice(f"{reason.message}; going on from {checkpoint.folder.name} instead{where}"), stacklevel=2
            )
        return checkpoint
    raise corrupt[0][1]


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
        hint="Resume with the recipe it was started with (recipe.yaml in that folder), name another --out, or start "
        "anew with --fresh, which deletes the run that is there.",
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
    return [] if old == new else [f"{path}: {_brief(old)} -> {_brief(new)}"]


def _brief(value: Any) -> str:
    """A value as it is; of a long list or mapping, how many entries it has."""
    shown = repr(value)
    return f"{len(value)} entries" if len(shown) > LONG and isinstance(value, list | dict) else shown
