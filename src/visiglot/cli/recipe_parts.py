"""What a recipe's parts are by their configs alone: no weights are read, and nothing is fetched.

`recipes/configs` says of the hub's models that built-in recipes name what their config.json says of their shapes. It is
asked for what wasn't fetched before, and by nothing that builds a model with weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visiglot.errors import CheckpointError, nearest

if TYPE_CHECKING:
    from visiglot.config import Recipe
    from visiglot.models.config import VisiglotConfig


def locate(name: str) -> str | Recipe:
    """The folder, file or hub id that a `from` means, or the built-in recipe whose run it will be.

    Raises:
        CheckpointError: it is none of them.
    """
    from visiglot.config import load_recipe, recipe_names
    from visiglot.models.runs import resolve_model

    try:
        return resolve_model(name)
    except CheckpointError as error:
        if name in recipe_names():
            return load_recipe(name)
        close = nearest(name, recipe_names())
        if not close:
            raise
        raise CheckpointError(error.message, hint=f"Did you mean {' or '.join(map(repr, close))}?") from error


def part_config(recipe: Recipe, part: str) -> Any:
    """The Hugging Face config of `vision` or `language_model`; None for one that isn't known without the hub.

    A whole model, of ours or of another format, gives its part's.

    Raises:
        ConfigError: a key or value of `config`.
        CheckpointError: `from` leads nowhere, or to no such part.
    """
    from visiglot.models.checkpoint.formats import open_model
    from visiglot.models.checkpoint.stock import load_config
    from visiglot.models.checkpoint.weights import is_weights_file
    from visiglot.models.values import config_of

    section = recipe.model.vision if part == "vision" else recipe.model.language_model
    if section.from_ is None:
        return config_of(f"model.{part}", section.config)
    found = locate(section.from_)
    if not isinstance(found, str):
        return part_config(found, part)
    if part == "vision" and is_weights_file(found):
        return config_of("model.vision", section.config)
    folder = _at_hand(found)
    if folder is None:
        return None
    opened = open_model(folder)
    if opened is not None:
        return opened.config.vision_config if part == "vision" else opened.config.text_config
    config = load_config(folder)
    if part == "vision" and config.to_dict().get("vision_config"):
        return config.vision_config
    return config


def connector_source(recipe: Recipe) -> VisiglotConfig | None:
    """The config of the model that the connector starts from; None where it starts anew, or where there is none at hand
    (a run that is still to be trained, a file of weights, a model that only the hub has).

    Raises:
        CheckpointError: `from` leads nowhere, or to a model without a connector.
    """
    from visiglot.models.checkpoint.formats import open_model
    from visiglot.models.checkpoint.weights import is_weights_file

    name = recipe.model.connector.from_
    found = None if name is None else locate(name)
    if not isinstance(found, str) or is_weights_file(found):
        return None
    folder = _at_hand(found)
    if folder is None:
        return None
    opened = open_model(folder)
    if opened is None:
        raise CheckpointError(
            f"{name} is no vision-language model, so it has no connector",
            hint="Name a run, a model folder, or a hub id of one.",
        )
    return opened.config


def settled(recipe: Recipe) -> Recipe | None:
    """The recipe with what `connector.type: same` stands for; None where the model that says it isn't known here.

    Raises:
        CheckpointError: `from` leads nowhere, or to a model without a connector.
    """
    from visiglot.config.model import SAME
    from visiglot.models.connectors.start import as_there

    if recipe.model.connector.type != SAME:
        return recipe
    there = connector_source(recipe)
    return None if there is None else recipe.model_copy(update={"model": as_there(recipe.model, there)})


def has_own_head(recipe: Recipe) -> bool:
    """Whether the language model's file says that its head isn't tied to the embeddings.

    transformers ties all of mT5's family by its config class, whatever the file says; mT0's checkpoint isn't tied.
    """
    source = recipe.model.language_model.from_
    found = None if source is None else locate(source)
    if found is not None and not isinstance(found, str):
        return has_own_head(found)
    folder = None if found is None else _at_hand(found)
    path = None if folder is None else Path(folder) / "config.json"
    if path is None or not path.is_file():
        return False
    raw = json.loads(path.read_text(encoding="utf-8"))
    return raw.get("text_config", raw).get("tie_word_embeddings") is False


def adapted(recipe: Recipe) -> dict[str, Any] | None:
    """The low-rank layers that the language model comes with and keeps, as its config says; None without any."""
    there = None if recipe.model.language_model.merge else _around_language_model(recipe)
    return None if there is None else there.lora


def template_of(recipe: Recipe) -> str | None:
    """The template by which training asks, unless it is that of the language model's family: the recipe's, or that of
    the whole model that the language model comes from."""
    there = _around_language_model(recipe) if recipe.model.language_model.tokenizer is None else None
    return recipe.model.prompt.template or (None if there is None else there.template)


def _around_language_model(recipe: Recipe) -> VisiglotConfig | None:
    """The config of the whole model that the language model comes from; None where it stands alone or isn't at hand."""
    from visiglot.models.checkpoint.formats import open_model

    name = recipe.model.language_model.from_
    found = None if name is None else locate(name)
    folder = _at_hand(found) if isinstance(found, str) else None
    opened = None if folder is None else open_model(folder)
    return None if opened is None else opened.config


def _at_hand(where: str) -> str | None:
    """A folder or file as it is; of a hub id the folder that has its config, fetched or known here, None without one.

    Raises:
        CheckpointError: a file of something else.
    """
    from huggingface_hub import try_to_load_from_cache

    from visiglot.config import recipes_folder
    from visiglot.models.checkpoint.weights import is_weights_file

    if Path(where).is_dir() or is_weights_file(where):
        return where
    if Path(where).is_file():
        raise CheckpointError(
            f"{where} is a file that no part comes from", hint="Name a folder, a file of weights, or a hub id."
        )
    found = try_to_load_from_cache(where, "config.json")
    if isinstance(found, str):
        return str(Path(found).parent)
    known = Path(str(recipes_folder())) / "configs" / where.replace("/", "--")
    return str(known) if (known / "config.json").is_file() else None
