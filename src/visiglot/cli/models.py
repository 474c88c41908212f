"""What a model's folder says about itself, read without loading the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.cli.console import say
from visiglot.errors import CheckpointError, VisiglotError

if TYPE_CHECKING:
    from visiglot.config import Recipe
    from visiglot.evaluate.trained import TrainedLanguages
    from visiglot.models.vlm import VisionLanguageModel


def tell_loaded(model: VisionLanguageModel) -> None:
    """Say what became of the tensors of a model of another format, or of parts, on stderr."""
    if model.load_report is not None:
        for line in model.load_report.lines():
            say(line)


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
    """The languages that a model's folder says it knows, by its own config or by its format (mBLIP's release).

    None when the model isn't on this machine (a hub id), or is a YAML file of parts.

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
    if values.get("model_type") != "visiglot":
        from visiglot.models.checkpoint.formats import open_model

        opened = open_model(str(path.parent))
        return () if opened is None else tuple(opened.config.languages or ())
    return tuple(values.get("languages") or ())


def trained_languages(name: str) -> TrainedLanguages:
    """What a model says of the languages that it knows, and of those in which it was trained on pictures.

    The latter follows from the recipes of the model and of the models that its parts came from. Where one of them, or
    its data, isn't on this machine, that isn't known, and a notice says so.

    Raises:
        CheckpointError: there is no such model, or its config can't be read.
        ConfigError: the recipe beside it is broken.
    """
    from visiglot.evaluate.trained import TrainedLanguages

    known = card_languages(name) or ()
    recipe = recipe_of(name)
    if recipe is None:
        return TrainedLanguages(known)
    try:
        return TrainedLanguages(known, tuple(sorted(_pictured(recipe))))
    except VisiglotError as error:
        say(f"notice  in which languages {name} was trained on pictures isn't known: {error.message}")
        return TrainedLanguages(known)


def knows_built_in_prompts_alone(name: str) -> bool:
    """Whether a model was trained on the prompts of the built-in data and on no others, by its recipe and by those of
    the models that its language model came from; False where one of them isn't known."""
    try:
        recipe = recipe_of(name)
    except VisiglotError:
        return False
    if recipe is None:
        return False
    sources = [source for stage in recipe.stages for source in (stage.data or recipe.data).sources]
    earlier = recipe.model.language_model.from_
    return all(source.type == "nano" for source in sources) and (
        earlier is None or knows_built_in_prompts_alone(earlier)
    )


def _pictured(recipe: Recipe) -> set[str]:
    """The languages in which a recipe, or one that its parts come from, trains on pictures. Parts that never were
    part of a model of ours (an encoder, a language model from the hub) have none of interest."""
    from visiglot.data.pictured import pictured_languages

    found = set(pictured_languages(recipe))
    parts = (recipe.model.vision, recipe.model.connector, recipe.model.language_model)
    for name in dict.fromkeys(part.from_ for part in parts if part.from_ is not None):
        earlier = recipe_of(name)
        if earlier is not None:
            found |= _pictured(earlier)
    return found
