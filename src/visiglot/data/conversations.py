"""Conversations of files in which `<image>` says where a picture stands -> examples.

Pictures are numbered in the order of their marks, over all turns. A mark's place in the words is kept. The line break
that sets it off from the words goes, since what stands between a picture and words is the model's own
(`visiglot.prompts.Placing`): LLaVA's models want a line break there, others nothing. Pictures that are marked nowhere
stand first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from visiglot.data.adapter import Origin
from visiglot.data.rows import Row
from visiglot.types import Example, ImageRef, ImageSlot, Message, Role

MARK = "<image>"

SPEAKERS: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
"""How files call the sides."""

_MARK = re.compile(rf"(?:\s*\n\s*)?{MARK}(?:\s*\n\s*)?")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says.

    Args:
        text: with MARK where a picture stands, in a user's turn.
        row: the turn's own, for messages.
        speaker: the field of `row` that says who speaks.
    """

    role: Role
    text: str
    row: Row
    speaker: str

    @property
    def marks(self) -> int:
        """How many pictures stand in it."""
        return self.text.count(MARK) if self.role == "user" else 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns and the pictures that they are about.

    Args:
        id: of its examples.
        turns: in order: perhaps the system's, then the user's and the assistant's in alternation.
        images: as many as there are marks; or any number, and no marks.
        language: FLORES-200 code.
    """

    id: str
    turns: Sequence[Turn]
    images: Sequence[ImageRef]
    language: str

    def examples(self, origin: Origin, *, split_turns: bool = False, max_sentences: int | None = None) -> list[Example]:
        """One example, or one for each question and its answer.

        A question alone has the pictures of its own turn, at their places, and before them those of all earlier turns.
        Where there is one question, its words and the answer are facts; the words aren't when pictures stand amid them.

        Args:
            split_turns: each question alone.
            max_sentences: examples with more "." in an answer are left out.
        """
        unplaced = 0 if any(turn.marks for turn in self.turns) else len(self.images)
        whole = (self.id, _messages(self.turns, unplaced), self.images)
        parts = self._alone() if split_turns else [whole]
        return [
            origin.turns(id, images, messages, language=self.language, **_facts(messages))
            for id, messages, images in parts
            if max_sentences is None
            or all(one.text.count(".") <= max_sentences for one in messages if one.role == "assistant")
        ]

    def _alone(self) -> Iterator[tuple[str, list[Message], Sequence[ImageRef]]]:
        first = [turn for turn in self.turns if turn.role == "system"]
        rest = self.turns[len(first) :]
        seen = 0 if any(turn.marks for turn in rest) else len(self.images)
        for number in range(0, len(rest), 2):
            question = rest[number]
            pair = [*first, question, rest[number + 1]]
            stood, seen = seen, seen + question.marks
            yield f"{self.id}/{number // 2}", _messages(pair, stood), self.images[:seen]


def _messages(turns: Sequence[Turn], unplaced: int) -> list[Message]:
    """Messages with slots where pictures stand; the first `unplaced` pictures come before the first user's words."""
    used = unplaced
    messages = []
    for turn in turns:
        content: list[str | ImageSlot] = [turn.text]
        if turn.role == "user":
            content, unplaced = [ImageSlot(index) for index in range(unplaced)], 0
            for number, words in enumerate(_MARK.split(turn.text)):
                if number:
                    content.append(ImageSlot(used))
                    used += 1
                content.append(words)
        messages.append(Message(turn.role, tuple(part for part in content if part != "")))
    return messages


def check_turns(turns: Sequence[Turn]) -> None:
    """Raises DataError: the turns aren't in the order of `Conversation.turns`, or the last isn't the assistant's."""
    rest = turns[1:] if turns[0].role == "system" else turns
    for number, turn in enumerate(rest):
        wanted = "assistant" if number % 2 else "user"
        if turn.role != wanted:
            raise turn.row.error(turn.speaker, f"is the {turn.role}, where the {wanted} must speak")
    if len(rest) % 2 or not rest:
        raise turns[-1].row.error(turns[-1].speaker, f"is the {turns[-1].role}; the last word must be the assistant's")


def check_marks(row: Row, name: str, marks: int, pictures: int) -> None:
    """Raises DataError, about the field `name` that holds the pictures: not as many are marked as there are."""
    if marks != pictures:
        raise row.error(
            name,
            f"has {pictures} picture{'' if pictures == 1 else 's'}, "
            f"but {MARK} stands {marks} time{'' if marks == 1 else 's'} in the user's turns",
            hint=f"Write {MARK} once for each picture, or nowhere.",
        )


def _facts(messages: Sequence[Message]) -> dict[str, str]:
    """Question and answer of a conversation of one question."""
    said = [message for message in messages if message.role != "system"]
    if len(said) != 2:
        return {}
    words = [part.strip() for part in said[0].content if isinstance(part, str) and part.strip()]
    return ({"question": words[0]} if len(words) == 1 else {}) | {"answer": said[1].text}
