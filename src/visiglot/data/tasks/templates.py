"""The words around facts: templates.toml, filled in one pass."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal

from visiglot.languages import ENGLISH
from visiglot.prompts import IMAGE, Content, with_images

PromptSet = Literal["english", "native", "both"]

ANY = "any"
"""Key of the forms of an answer that have no words of a language."""

_FIELD = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Templates:
    """The words of one task; what is by language is by FLORES-200 code."""

    english: tuple[str, ...]
    native: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    yes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    no: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def prompts(self, language: str, which: PromptSet) -> tuple[str, ...]:
        """Prompts for a question in a language; none where `which` is native and there are none."""
        native = () if language == ENGLISH else self.native.get(language, ())
        if which == "english" or language == ENGLISH:
            return self.english
        return native if which == "native" else self.english + native

    def forms(self, language: str) -> tuple[str, ...]:
        """Forms of an answer in a language."""
        return self.answers.get(language) or self.answers[ANY]

    def sentences(self, language: str, yes: bool) -> tuple[str, ...]:
        """Sentences that say yes or no; none where there are none."""
        return (self.yes if yes else self.no).get(language, ())


@cache
def load_templates() -> Mapping[str, Templates]:
    """templates.toml by task."""
    text = resources.files("visiglot.data.tasks").joinpath("templates.toml").read_text(encoding="utf-8")
    return {task: Templates(tuple(row.pop("english")), **_tuples(row)) for task, row in tomllib.loads(text).items()}


def _tuples(row: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, Mapping[str, tuple[str, ...]]]:
    return {key: {code: tuple(texts) for code, texts in by_code.items()} for key, by_code in row.items()}


def fields_of(template: str) -> frozenset[str]:
    """Names of the fields, `image` too."""
    return frozenset(_FIELD.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with its fields filled. What is filled in is never looked at again."""
    return _FIELD.sub(lambda match: values[match[1]], template)


def fill_prompt(template: str, values: Mapping[str, str], pictures: int) -> Content:
    """The content of a user turn: `template` with its fields filled and the pictures in place.

    Args:
        pictures: how many. Where {image} stands once, all stand there; where it doesn't, `visiglot.prompts` says.
    """
    if template.count(IMAGE) == 1 or not pictures:
        template = template.replace(IMAGE, IMAGE * pictures).strip()
    placed = with_images(template, pictures)
    return tuple(fill(part, values) if isinstance(part, str) else part for part in placed)
