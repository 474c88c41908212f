"""How texts are cut into words before captions are compared: three ways, in one table.

Caption scores mean nothing without it: the same Japanese captions score 0.2 or 8.4 CIDEr, depending on the words. So
the name of the segmentation is part of a metric's name, and both sides are always cut by the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from visiglot.registry import Registry


class Tokenise(Protocol):
    """Texts in one language (its code) -> the words of each.

    There is one list for each text, whatever is in it: line breaks of any kind are spaces, and a text without words
    has none.
    """

    def __call__(self, texts: Sequence[str], language: str) -> list[list[str]]: ...


@dataclass(frozen=True)
class Segmentation:
    """A row of the table.

    Args:
        name: as in the names of metrics.
        about: one sentence for the report.
        tokenise: texts -> words.
        signature: the name with what else decides the words, versions of libraries too; called when something is
            scored.
    """

    name: str
    about: str
    tokenise: Tokenise
    signature: Callable[[], str]


SEGMENTATIONS: Registry[Segmentation] = Registry(
    "segmentation",
    modules=(
        "visiglot.evaluate.segmentation.ptb",
        "visiglot.evaluate.segmentation.mblip",
        "visiglot.evaluate.segmentation.scripts",
    ),
)

DEFAULT = "visiglot"
"""Name of the segmentation that is right for every script."""
