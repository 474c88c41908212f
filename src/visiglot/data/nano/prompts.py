"""The words around a task's content: templates from prompts.toml, filled in one pass."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from visiglot.data.nano.settings import resource
from visiglot.types import ImageSlot

_FIELD = re.compile(r"\{([a-z_:]+)\}")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates of one task."""

    english: tuple[str, ...]
    native: tuple[str, ...]


@cache
def load_prompts() -> Mapping[str, Prompts]:
    """prompts.toml by task."""
    table = tomllib.loads(resource("prompts.toml").decode("utf-8"))

    def templates(task: str) -> Prompts:
        row = table[task]
        if "like" in row:
            return templates(row["like"])
        return Prompts(tuple(row["english"]), tuple(row.get("native", ())))

    return {task: templates(task) for task in table}


def caption_prompt(config: Any = None) -> str:
    """What a model is asked for a caption: what its config says, else what models of the built-in recipes learn.

    {language} stands for the language's name; {image}, or nothing, for the picture.
    """
    own = getattr(config, "caption_prompt", None)
    return load_prompts()["caption"].english[0] if own is None else str(own)


def is_built_in(prompt: str) -> bool:
    """Whether a prompt is one of the templates, whose fields may be filled in where it is English; with {image} or
    without it."""
    asked = prompt.replace("{image}", "").strip()
    for prompts in load_prompts().values():
        for template in (*prompts.english, *prompts.native):
            words = template.replace("{image}", "").strip()
            pattern = ".+".join(map(re.escape, _FIELD.sub("\0", words).split("\0")))
            if asked == words or (template in prompts.english and re.fullmatch(pattern, asked)):
                return True
    return False


def fields_of(template: str) -> frozenset[str]:
    return frozenset(_FIELD.findall(template))


def usable(templates: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Those templates whose fields, {image} apart, all have values."""
    return [template for template in templates if fields_of(template) - {"image"} <= values.keys()]


def fill(template: str, values: Mapping[str, str], standing: ImageSlot | str | None) -> tuple[str | ImageSlot, ...]:
    """A message's content: `template` with its fields filled, and `standing` where {image} stands.

    A space before a picture goes. Tokenizers join a space to the word behind it; before a picture it would be a piece
    of its own, which the built-in language model never saw before the words that the picture stands for.

    Args:
        standing: the picture's slot, a text that stands for it, or None for nothing.
    """
    content: list[str | ImageSlot] = []
    words = ""
    at = 0
    for match in _FIELD.finditer(template):
        words += template[at : match.start()]
        at = match.end()
        if match[1] != "image":
            words += values[match[1]]
        elif isinstance(standing, ImageSlot):
            content += [words.rstrip(" "), standing]
            words = ""
        elif standing is not None:
            words += standing
    words += template[at:]
    return tuple(part for part in (*content, words) if part != "")
