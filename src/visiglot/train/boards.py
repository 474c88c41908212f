"""Where a run's numbers go beside its own log, when a recipe asks for it in `train.track`: one row a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from visiglot.config import Recipe
from visiglot.errors import MissingExtraError, TrainingError
from visiglot.registry import Registry

NOT_MEASURED = ("stage", "stage_index", "step")
"""Keys of a record that say what it is of."""


class Board(Protocol):
    """What shows numbers over steps."""

    def show(self, values: Mapping[str, float], step: int) -> None:
        """Add values at a step, counted over all stages."""
        ...

    def close(self) -> None:
        """Write what isn't written yet."""
        ...


BOARDS: Registry[Callable[[Recipe, Path, int], Board]] = Registry("board")
"""Name -> what opens it, given the recipe, the run's folder, and the step that the run goes on from: what the board has
of later ones is of a run that was killed, and is made again. Raises VisiglotError: its package isn't there."""


def flat(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a record of the log, under names like "loss_by_language/deu_Latn"."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}/")
        elif isinstance(value, int | float) and key not in NOT_MEASURED:
            yield before + key, float(value)


@BOARDS.register("tensorboard")
class TensorBoard:
    """Event files in the run's folder, below tensorboard/."""

    def __init__(self, recipe: Recipe, folder: Path, start: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard, which train.track asks for,", "tensorboard") from error
        # events from `purge_step` on are hidden when the file that says so is read
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def show(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


@BOARDS.register("wandb")
class WeightsAndBiases:
    """A run of Weights & Biases in project "visiglot". Its own environment variables hold (WANDB_MODE, WANDB_PROJECT).

    A run that is resumed stays one: its id follows from its folder. Steps that it has already are left as they are.
    """

    def __init__(self, recipe: Recipe, folder: Path, start: int) -> None:
        import hashlib
        import os

        try:
            import wandb
        except ImportError as error:
            raise TrainingError(
                "wandb isn't installed, which train.track asks for", hint="pip install wandb, or leave it out."
            ) from error
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "visiglot"),
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            name=folder.name,
            dir=str(folder),
            config=recipe.model_dump(mode="json", by_alias=True),
            resume="allow",
        )

    def show(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()
