"""What is asked of examples that are captions."""

from __future__ import annotations

import unicodedata

from visiglot.data.source import Source
from visiglot.errors import DataError
from visiglot.types import Example

_LEFT_OUT = frozenset("PZC")
"""Unicode's punctuation, white space and controls. Marks stay: in many scripts they are vowels."""


def caption_of(source: Source, example: Example) -> str:
    """The fact "caption". Raises DataError: the example has none."""
    caption = example.facts.get("caption")
    if caption is None:
        raise DataError(
            f"{source.name}, example {example.id}: has no caption; it has {', '.join(example.facts) or 'no facts'}",
            hint="Use a source of captions, such as capfilt or coco-captions.",
        )
    return caption


def normal_form(text: str) -> str:
    """What two texts share that say the same with other capitals, spaces or punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in _LEFT_OUT) or folded
