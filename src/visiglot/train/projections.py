"""The projections by which a model of ours embeds: those that its contrastive stage trained beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from visiglot.config import load_recipe
from visiglot.errors import CheckpointError
from visiglot.models.runs import checkpoint_of
from visiglot.train.objectives import OBJECTIVES
from visiglot.train.objectives.contrastive import Contrastive
from visiglot.train.resume import OBJECTIVE

if TYPE_CHECKING:
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel


def load_projections(folder: Path, model: VisionLanguageModel, processor: VisiglotProcessor) -> Contrastive | None:
    """Those of the checkpoint that a model was loaded from, on its device and in its type.

    None where there are none: it is no checkpoint of a run, its stage has another objective, or pictures were stood for
    by a connector that reads the prompt.

    Args:
        folder: of the model, in the checkpoint.

    Raises:
        CheckpointError: they can't be read.
    """
    checkpoint = checkpoint_of(folder)
    if checkpoint is None or not (checkpoint.trainer / OBJECTIVE).is_file():
        return None
    recipe = load_recipe(str(checkpoint.trainer / "recipe.yaml"))
    section = recipe.stages[checkpoint.position.stage_index]
    objective = OBJECTIVES.get(section.objective)(model, processor.spec(), recipe.train, section.options)
    if not isinstance(objective, Contrastive) or (objective.image == "connector" and model.connector.needs_context):
        return None
    path = checkpoint.trainer / OBJECTIVE
    try:
        objective.load_state_dict(load_file(path))
    except Exception as error:  # safetensors and torch raise several kinds for a broken file
        raise CheckpointError(f"{path} can't be read: {error}", hint="Take another checkpoint of the run.") from error
    return objective.to(model.device, model.dtype).eval()
