"""From the values of a recipe to the Hugging Face configs that they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import CONFIG_MAPPING

from visiglot.errors import ConfigError, UnknownNameError, VisiglotError


def token_ids(tokenizer: Any) -> dict[str, Any]:
    """What a new LLM's config takes from its tokenizer; T5's family starts answers from the padding token."""
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }


def config_of(where: str, values: dict[str, Any] | None, defaults: dict[str, Any] | None = None) -> Any:
    """A Hugging Face config from a recipe's values; `defaults` fill the keys that the class has and nobody set."""
    given = dict(values or {})
    kind = given.pop("model_type", None)
    if kind is None:
        raise ConfigError(where, ["config.model_type: is missing; it names the Hugging Face config class"])
    if kind not in CONFIG_MAPPING:
        raise ConfigError(where, [str(UnknownNameError("model_type", kind, CONFIG_MAPPING.keys())).replace("\n", "; ")])
    config_class = CONFIG_MAPPING[kind]
    blank = config_class()
    known = set(blank.to_dict())
    if blank.is_encoder_decoder:
        known.add("decoder_start_token_id")  # T5Config takes it without declaring it
    unknown = [key for key in given if key not in known and key not in config_class.attribute_map]
    if unknown:
        problems = [str(UnknownNameError(f"key of {config_class.__name__}", key, known)) for key in unknown]
        raise ConfigError(f"{where}.config", [problem.replace("\n", "; ") for problem in problems])
    given = {key: value for key, value in (defaults or {}).items() if key in known} | given
    with from_values(f"{where}.config"):
        return config_class(**given)


@contextmanager
def from_values(where: str) -> Iterator[None]:
    """Turn what a module raises at a recipe's values into ConfigError.

    Config classes of transformers check little; a width of "abc" or -3 shows when layers are made, in as many kinds of
    error as there are layers.

    Raises:
        ConfigError: at `where`.
    """
    try:
        yield
    except (UnknownNameError, ConfigError) as error:
        raise ConfigError(where, [str(error).replace("\n", " ")]) from error
    except VisiglotError:
        raise
    except Exception as error:
        raise ConfigError(
            where, [f"its values make no module: {' '.join(str(error).split()) or type(error).__name__}"]
        ) from error
