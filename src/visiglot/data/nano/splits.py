"""Which pictures, concepts and languages each split may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from visiglot.data.nano.build import LANGUAGE_SET
from visiglot.data.nano.load import NanoData
from visiglot.data.nano.settings import load_settings
from visiglot.errors import DataError, UnknownNameError

Styles = Literal["training", "development", "test"]


@dataclass(frozen=True, slots=True)
class Split:
    """One row of the table of splits.

    Args:
        styles: the drawing styles it may show; `training` is every style but the test's.
        concepts: "seen" (pictures of them are trained on) or "held out".
        text_only_languages: whether picture tasks are asked in languages without image-text pairs in training.
        training: whether examples carry the answer as a turn (training) or as references (evaluation).
    """

    styles: Styles
    concepts: Literal["seen", "held out"]
    text_only_languages: bool
    training: bool


SPLITS: dict[str, Split] = {
    "train": Split("training", "seen", text_only_languages=False, training=True),
    "train-eval": Split("training", "seen", text_only_languages=True, training=False),
    "dev": Split("development", "seen", text_only_languages=False, training=False),
    "test": Split("test", "seen", text_only_languages=True, training=False),
    "test-unseen": Split("test", "held out", text_only_languages=True, training=False),
}


def find_split(name: str) -> Split:
    """Raises UnknownNameError with the nearest names."""
    if name not in SPLITS:
        raise UnknownNameError("split of the built-in data", name, SPLITS)
    return SPLITS[name]


def choose_styles(data: NanoData, name: str, styles: Sequence[str] | None) -> tuple[str, ...]:
    """The styles that split `name` shows: `styles` if given, else all it may show.

    Raises:
        DataError: a style isn't in the data or isn't the split's to show (the test style in training).
    """
    split, settings = find_split(name), load_settings()
    allowed = {
        "training": settings.training_styles,
        "development": (settings.development_style,),
        "test": (settings.test_style,),
    }[split.styles]
    chosen = tuple(styles) if styles is not None else tuple(style for style in allowed if style in data.pictures)
    wrong = [style for style in chosen if style not in allowed or style not in data.pictures]
    if wrong or not chosen:
        raise DataError(
            f"split {name!r} of the built-in data can't show style {', '.join(map(repr, wrong)) or '(none)'}",
            hint=f"It may show: {', '.join(style for style in allowed if style in data.pictures) or 'none'}.",
        )
    return chosen


def choose_concepts_of(data: NanoData, name: str, *, pictures: bool) -> list[str]:
    """Ids of the concepts of split `name`, in the data's order. A text task trains on all of them."""
    split = find_split(name)
    if split.training and not pictures:
        return list(data.concepts)
    wants_held_out = split.concepts == "held out"
    return [id for id, concept in data.concepts.items() if concept.held_out == wants_held_out]


def choose_languages(data: NanoData, name: str, languages: Sequence[str], *, pictures: bool) -> tuple[str, ...]:
    """`languages` less those that split `name` must not show with pictures, in their order, each once.

    Raises:
        DataError: a language has no names in the data.
    """
    unknown = [language for language in languages if language not in data.names]
    if unknown:
        raise DataError(
            f"the built-in data has no names in {', '.join(unknown)}",
            hint=f"It has {len(data.names)} languages; `visiglot languages --set {LANGUAGE_SET}` lists them.",
        )
    split = find_split(name)
    hidden = data.text_only_languages if pictures and not split.text_only_languages else frozenset()
    return tuple(language for language in dict.fromkeys(languages) if language not in hidden)
