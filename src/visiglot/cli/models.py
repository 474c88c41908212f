"""What a model's folder says about itself, read without loading the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.errors import CheckpointError

if TYPE_CHECKING:
    from visiglot.config import Recipe


def recipe_of(name: str) -> Recipe | None:
    """The recipe that trained a run's checkpoint or a model of the package; None for a model that doesn't say.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: the recipe beside it is broken.
    """
    from visiglot.config import load_recipe
    from visiglot.models.runs import resolve_model

    folder = Path(resolve_model(name))
    for path in (folder.parent / "trainer" / "recipe.yaml", folder / "recipe.yaml"):
        if path.is_file():
            return load_recipe(str(path))
    return None


def card_languages(name: str) -> tuple[str, ...] | None:
    """The languages in a model folder's config.json; None when the model isn't on this machine (a hub id).

    Raises:
        CheckpointError: there is no such model, or its config can't be read.
    """
    from visiglot.models.runs import resolve_model

    path = Path(resolve_model(name)) / "config.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {error}", hint="Name another model, or copy it again.") from error
    return tuple(values.get("languages") or ())
