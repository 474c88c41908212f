"""A prompt as users write it -> the content of a message."""

from __future__ import annotations

from visiglot.errors import PromptError
from visiglot.types import ImageSlot

IMAGE = "{image}"
"""Where a picture stands in a prompt."""


def with_images(words: str, count: int, *, first: bool = False) -> tuple[str | ImageSlot, ...]:
    """The content of a user turn: `words`, with `count` pictures where {image} stands, in their order.

    Args:
        words: with {image} once for each picture, or not at all.
        first: where one picture stands that the words don't place: before them (as in BLIP-2), or after them. Several
            pictures that they don't place always stand before them.

    A space before a picture goes: tokenizers join a space to the word behind it.

    Raises:
        PromptError: the words place another number of pictures.
    """
    pieces = words.split(IMAGE)
    if len(pieces) == 1:
        pieces = [*[""] * count, words] if first or count != 1 else [words, ""]
    if len(pieces) != count + 1:
        raise PromptError(
            f"the prompt has {IMAGE} {len(pieces) - 1} times, and {count} picture{'' if count == 1 else 's'} to show: "
            f"{words!r}",
            hint=f"Write {IMAGE} once for each picture, or leave it out.",
        )
    content: list[str | ImageSlot] = []
    for index, piece in enumerate(pieces[:-1]):
        content += [piece.rstrip(" "), ImageSlot(index)]
    return tuple(part for part in (*content, pieces[-1]) if part != "")
