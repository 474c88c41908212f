"""Look-ups in families.toml: what is different about a model family."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """What a family of LLMs needs beyond what its config says."""

    template: str = "plain"
    bos: bool = False


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("visiglot.models") / "families.toml").read_text(encoding="utf-8"))


def family(model_type: str) -> Family:
    """What is known of the LLMs whose config has this `model_type`; the defaults when nothing is."""
    return Family(**_table()["llm"].get(model_type, {}))


def vision_architecture(model_type: str) -> str | None:
    """Name of the transformers class for an encoder that AutoModel doesn't build, or None."""
    row = _table()["vision"].get(model_type)
    return None if row is None else str(row["architecture"])
