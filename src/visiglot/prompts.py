"""A prompt as users write it -> the content of a message; where a model wants its pictures, how a language is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from visiglot.errors import PromptError
from visiglot.types import Example, ImageSlot, Message, Placing

IMAGE = "{image}"
"""Where a picture stands in a prompt."""

LANGUAGE = "{language}"
"""Where a language's English name stands in a prompt."""

ANSWER_IN = " Answer in {language}."
"""What follows a question that is asked in a language and doesn't name it."""

Content = tuple[str | ImageSlot, ...]


LAST = Placing()
"""As built-in models do."""


def placing_of(config: Any, processor: Any) -> Placing:
    """How the model of a config and a processor reads pictures."""
    return Placing(bool(config.image_first), str(config.image_gap), bool(processor.whole_turns))


def with_images(words: str, count: int, placing: Placing = LAST) -> Content:
    """The content of a user turn: `words`, with `count` pictures where {image} stands, in their order.

    Args:
        words: with {image} once for each picture, or not at all.
        placing: where pictures stand that the words don't place, and what becomes of a space before one.

    Raises:
        PromptError: the words place another number of pictures.
    """
    pieces = words.split(IMAGE)
    if len(pieces) == 1 and (placing.first or count != 1):
        return _pictures_first(map(ImageSlot, range(count)), words, placing.gap)
    if len(pieces) == 1:
        pieces = [words, ""]
    if len(pieces) != count + 1:
        raise PromptError(
            f"the prompt has {IMAGE} {len(pieces) - 1} times, and {count} picture{'' if count == 1 else 's'} to show: "
            f"{words!r}",
            hint=f"Write {IMAGE} once for each picture, or leave it out.",
        )
    content: list[str | ImageSlot] = []
    for index, piece in enumerate(pieces[:-1]):
        content += [piece if placing.keeps_space else piece.rstrip(" "), ImageSlot(index)]
    return tuple(part for part in (*content, pieces[-1]) if part != "")


def placed(example: Example, placing: Placing) -> Example:
    """`example` as a model reads pictures, so that it is trained and evaluated as it is asked.

    Where all pictures of a user turn stand before its words, or all behind them, nobody meant a place: they stand then
    where `with_images` puts pictures that the words don't place. Pictures amid the words stay.
    """
    return replace(example, messages=tuple(_placed_turn(message, placing) for message in example.messages))


def _placed_turn(message: Message, placing: Placing) -> Message:
    slots = tuple(part for part in message.content if isinstance(part, ImageSlot))
    ends = (message.content[: len(slots)], message.content[len(message.content) - len(slots) :])
    if message.role != "user" or not slots or slots not in ends:
        return message
    words = message.text
    if placing.first or len(slots) > 1:
        return Message(message.role, _pictures_first(slots, words, placing.gap))
    words = words if placing.keeps_space else words.rstrip(" ")
    content: Content = (words, *slots)
    return Message(message.role, tuple(part for part in content if part != ""))


def _pictures_first(slots: Iterable[ImageSlot], words: str, gap: str) -> Content:
    """Pictures, each with the gap behind it, and the words; texts that meet are one."""
    content: list[str | ImageSlot] = []
    for slot in slots:
        content += [slot, gap]
    words = f"{content.pop()}{words}" if content else words
    return tuple(part for part in (*content, words) if part != "")
