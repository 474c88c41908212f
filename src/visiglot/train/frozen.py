"""Which parts of a model a run's checkpoints leave out: what no stage trains, and another model has."""

from __future__ import annotations

from collections.abc import Mapping

from visiglot.config import Recipe
from visiglot.models.checkpoint.named import hash_weights, named_source
from visiglot.models.checkpoint.shared import SHAREABLE, NamedPart, shared_parts
from visiglot.models.runs import Checkpoint, resolve_model

Named = Mapping[str, tuple[str, str]]
"""Part -> (name of the model that has it, hash of that model's weights)."""


def named_parts(recipe: Recipe, checkpoint: Checkpoint | None) -> Named:
    """The parts that checkpoints are to name. A run that goes on leaves out no more than it did.

    Raises:
        CheckpointError: a model that a part is from can't be read.
    """
    if recipe.train.save_frozen:
        return {}
    if checkpoint is not None:
        parts = shared_parts(checkpoint.model)
        return {part.name: (part.source, part.sha256) for part in parts if isinstance(part, NamedPart)}
    found = {}
    for part in SHAREABLE:
        source = source_of(recipe, part)
        if source is not None:
            found[part] = (named_source(source), hash_weights(resolve_model(source)))
    return found


def source_of(recipe: Recipe, part: str) -> str | None:
    """The model that has a part as it is throughout a recipe, low-rank layers apart; None where there is none.

    A language model that low-rank layers were merged into isn't the one it is from, nor is one in fewer bits.
    """
    llm = recipe.model.language_model
    changed = part == "language_model" and (llm.merge or llm.quantize is not None)
    trained = any(
        chosen.train == "full" and (path == part or path.startswith(f"{part}."))
        for stage in recipe.stages
        for path, chosen in stage.parts.items()
    )
    source = llm.from_ if part == "language_model" else recipe.model.vision.from_
    return None if changed or trained else source


def describe_named(recipe: Recipe, named: Named) -> list[str]:
    """A line about what checkpoints leave out, where they are asked to."""
    if recipe.train.save_frozen:
        return []
    parts = ", ".join(f"{part} ({source})" for part, (source, _) in named.items())
    nothing = "nothing: no part is frozen throughout and from elsewhere, or the run began with all in them"
    return [f"checkpoints leave out {parts or nothing}"]
