"""The words around the benchmarks' questions, from prompts.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from visiglot.languages import ENGLISH, language
from visiglot.types import ImageSlot, Message

_FIELD = re.compile(r"\{([a-z]+)\}")
_MARK = re.compile(r"<image[_ ]?(\d+)>")


def words(benchmark: str, prompt_set: str, code: str) -> Mapping[str, str]:
    """`ask`, the template, and the other words of a benchmark's prompt set in a language.

    A language without words of its own has those of English. Words that the set doesn't say are the language table's.
    """
    table: Mapping[str, Any] = _table()[benchmark][prompt_set]
    own = code if code in table else ENGLISH
    return {**language(own).literals, "name": language(code).name, **table[own]}


def asked(template: str, values: Mapping[str, str], pictures: int = 1) -> tuple[Message, ...]:
    """The user's turn: the pictures, and behind them the template with its fields filled once."""
    text = _FIELD.sub(lambda match: values[match[1]], template)
    return (Message("user", (*(ImageSlot(n) for n in range(pictures)), text)),)


def marks(text: str) -> list[int]:
    """Numbers, from 1, of the pictures whose places a text marks: "<image_1>" in M4U, "<image 1>" in MMMU."""
    return [int(number) for number in _MARK.findall(text)]


def asked_among(template: str, values: Mapping[str, str], pictures: int) -> tuple[Message, ...]:
    """The user's turn, pictures standing where the text marks their places and the others before it.

    Each must be marked at most `pictures` high, see `marks`.
    """
    text = _FIELD.sub(lambda match: values[match[1]], template)
    placed = marks(text)
    content: list[str | ImageSlot] = [ImageSlot(n) for n in range(pictures) if n + 1 not in placed]
    for turn, piece in enumerate(_MARK.split(text)):
        if turn % 2:
            content.append(ImageSlot(int(piece) - 1))
        elif piece:
            content.append(piece)
    return (Message("user", tuple(content)),)


def chosen(said: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    """The words that an answer is one of."""
    return tuple(said[key] for key in keys)


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("visiglot.benchmarks").joinpath("prompts.toml").read_text(encoding="utf-8"))
