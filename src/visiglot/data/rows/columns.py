"""Files whose columns a user names: what stands in which, and the examples that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visiglot.data.adapter import Origin
from visiglot.data.answers import most_given
from visiglot.data.conversations import MARK, SPEAKERS, Conversation, Turn, check_marks, check_turns
from visiglot.data.rows import Row
from visiglot.errors import ConfigError
from visiglot.types import Example, ImageRef


@dataclass(frozen=True)
class Columns:
    """Names of columns; None: there is no such column. Either `caption`, or `question` and `answer`,
    or `conversation`.

    Args:
        caption: a text or a list of texts; each is an example.
        question: a text.
        answer: a text, or a list of all that count as right, of which the most frequent is trained.
        conversation: a list of messages, each with `role` and `content` (a text with `<image>` where a picture stands,
            or a list of parts of type "text" and "image") or with `from` and `value`.
        language: any code or name of a language.
        id: of the row, unique in the source.

    Raises:
        ConfigError: none of them or several are named.
    """

    caption: str | None = None
    question: str | None = None
    answer: str | None = None
    conversation: str | None = None
    language: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        kinds = [self.caption, self.question, self.conversation]
        if sum(name is not None for name in kinds) != 1 or (self.question is None) != (self.answer is None):
            named = [
                name for name in ("caption", "question", "answer", "conversation") if getattr(self, name) is not None
            ]
            raise ConfigError(
                "columns of a source",
                [f"options: {' and '.join(named) or 'none'} named, where texts are one of three kinds"],
                hint="Name `caption`, or both `question` and `answer`, or `conversation`.",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """All that are named, each once."""
        found = (self.caption, self.question, self.answer, self.conversation, self.language, self.id)
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def examples(self, origin: Origin, row: Row, images: Sequence[ImageRef], id: str) -> Sequence[Example]:
        """The examples in a row.

        Args:
            images: the row's pictures.
            id: of the row, where no column has one.

        Raises:
            DataError: a column is missing, empty, or of another kind.
        """
        id = row.name(self.id) if self.id is not None else id
        language = row.language(self.language) if self.language is not None else None
        if self.caption is not None:
            if len(images) != 1:
                raise row.error(self.caption, f"is the caption of {len(images)} pictures, must be of one")
            if not isinstance(row.get(self.caption), list):
                return [origin.caption(id, images[0], row.text(self.caption), language=language)]
            texts = enumerate(row.texts(self.caption))
            return [origin.caption(f"{id}/{n}", images[0], text, language=language) for n, text in texts]
        if self.conversation is not None:
            turns = [_turn(one) for one in row.rows(self.conversation)]
            check_turns(turns)
            if marks := sum(turn.marks for turn in turns):
                check_marks(row, self.conversation, marks, len(images))
            return Conversation(id, turns, images, language or origin.language).examples(origin)
        assert self.question is not None
        assert self.answer is not None
        question = row.text(self.question)
        answers = row.texts(self.answer) if isinstance(row.get(self.answer), list) else (row.text(self.answer),)
        return [origin.question(id, images, question, most_given(answers), answers=answers, language=language)]


def _turn(row: Row) -> Turn:
    """A message, whose fields are `role` and `content`, or `from` and `value`."""
    name, said = ("from", "value") if row.get("from") is not None else ("role", "content")
    speaker = row.text(name)
    if speaker not in SPEAKERS:
        raise row.error(name, f"must be one of {', '.join(SPEAKERS)}, found {speaker!r}")
    if not isinstance(row.get(said), list):
        return Turn(SPEAKERS[speaker], row.text(said), row, name)
    parts = [(part, part.text("type")) for part in row.rows(said)]
    text = "".join(MARK if kind == "image" else part.text("text") for part, kind in parts)
    return Turn(SPEAKERS[speaker], text, row, name)
