"""A prompt as users write it -> the content of a message; and where a model wants its pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from visiglot.errors import PromptError
from visiglot.types import Example, ImageSlot, Message

IMAGE = "{image}"
"""Where a picture stands in a prompt."""

Content = tuple[str | ImageSlot, ...]


@dataclass(frozen=True, slots=True)
class Placing:
    """How a model reads pictures in a prompt.

    Args:
        first: where one picture stands that the words don't place: before them (as in BLIP-2), or after them. Several
            pictures that they don't place always stand before them.
        gap: what follows each picture that is put first (LLaVA: a line break).
        keeps_space: whether a space before a picture stays, as in models that read a turn and its placeholders as one
            text (LLaVA). Else it goes, since tokenizers join a space to the word behind it.
    """

    first: bool = False
    gap: str = ""
    keeps_space: bool = False


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
    """`example` for a model that reads pictures first: where all pictures of a user turn stand behind its words, which
    is how built-in models are asked, they move before them. Pictures that stand anywhere else stay."""
    if not placing.first:
        return example
    return replace(example, messages=tuple(_placed_turn(message, placing) for message in example.messages))


def _placed_turn(message: Message, placing: Placing) -> Message:
    slots = tuple(part for part in message.content if isinstance(part, ImageSlot))
    behind = len(message.content) - len(slots)
    if message.role != "user" or not slots or message.content[behind:] != slots:
        return message
    return Message(message.role, _pictures_first(slots, message.text, placing.gap))


def _pictures_first(slots: Iterable[ImageSlot], words: str, gap: str) -> Content:
    """Pictures, each with the gap behind it, and the words; texts that meet are one."""
    content: list[str | ImageSlot] = []
    for slot in slots:
        content += [slot, gap]
    words = f"{content.pop()}{words}" if content else words
    return tuple(part for part in (*content, words) if part != "")
