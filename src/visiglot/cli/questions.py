"""From pictures and from lines of stdin to questions: the rows to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from visiglot.cli.lines import LineError, LineRow
from visiglot.cli.pictures import is_data_url, picture_of
from visiglot.cli.prompts import content
from visiglot.cli.rows import AnswerRow
from visiglot.errors import ConfigError, DataError, ImageError, VisiglotError
from visiglot.languages import ENGLISH, all_languages, language, resolve
from visiglot.prompts import ANSWER_IN, LANGUAGE
from visiglot.types import Example, ImageRef, Message, Placing

if TYPE_CHECKING:
    from visiglot.models.decode import Decoding


@dataclass(frozen=True, slots=True)
class Generation:
    """How answers are generated, as the command line says it; see `visiglot.models.decode.Decoding`.

    Raises:
        ConfigError: an option that would be ignored.
    """

    beams: int
    max_new_tokens: int
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        checks = (
            (self.beams > 1, "--length-penalty", self.length_penalty != 1, "it weighs beams; give --beams too"),
            (self.temperature > 0, "--top-p", self.top_p != 1, "it cuts what is drawn; give --temperature too"),
            (self.temperature > 0, "--top-k", self.top_k != 0, "it cuts what is drawn; give --temperature too"),
        )
        problems = [f"{name}: {why}" for used, name, given, why in checks if given and not used]
        if problems:
            raise ConfigError("options of generation", problems, hint="Leave it out; `--help` says what each does.")

    def decoding(self) -> Decoding:
        """For the decoder. Imports torch. Raises ConfigError."""
        from visiglot.models.decode import Decoding

        return Decoding(**asdict(self))

    def facts(self) -> Mapping[str, float]:
        """What an answer follows from."""
        found: dict[str, float] = asdict(self)
        if not self.temperature:
            del found["seed"]
        return found


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked where a line doesn't say otherwise.

    Args:
        prompt: with {language} and {image} in place; None: what the model is asked for a caption, or for `ask` nothing.
        languages: as the user wrote them; None asks once, without naming a language.
        generation: options of the search.
        caption: whether it is `caption`; `ask` says in which language to answer where the prompt doesn't.
    """

    prompt: str | None
    languages: str | None
    generation: Generation
    caption: bool

    def words(self, prompt: str, *, named: bool) -> str:
        """What is asked, in a language that is named or in none."""
        return prompt + ANSWER_IN if named and not self.caption and LANGUAGE not in prompt else prompt


@dataclass(frozen=True, slots=True)
class Question:
    """One row to be.

    Args:
        asked: the row without an answer.
        example: for the model.
        facts: JSON of what tells it from other questions, whoever answers.
    """

    asked: AnswerRow
    example: Example
    facts: str


@dataclass(frozen=True, slots=True)
class Group:
    """The questions about a picture, or of a line of stdin; or why there are none."""

    refs: tuple[ImageRef, ...]
    questions: tuple[Question, ...]
    error: LineError | None = None


class Questioner:
    """Makes the questions of a task for one model.

    Args:
        prompt: what is asked where a line doesn't say.
        card: the languages on the model's card.
        placing: where the model reads pictures that a prompt doesn't place.
        fingerprint: of the model; None for questions that are only counted: no picture is looked at then.
    """

    def __init__(
        self, task: Task, prompt: str | None, *, card: Sequence[str], placing: Placing, fingerprint: str | None
    ) -> None:
        self.prompt = prompt
        self.codes = None if task.languages is None else languages_of([task.languages], card)
        self._task = task
        self._card = card
        self._placing = placing
        self._fingerprint = fingerprint
        self._ids: dict[str, int] = {}

    def about_pictures(self, refs: Iterable[ImageRef]) -> Iterator[Group]:
        """Every picture in every language."""
        assert self.prompt is not None
        for ref in refs:
            yield Group((ref,), self._questions((ref,), self.prompt, self.codes, None))

    def about_lines(self, lines: Iterable[LineRow | LineError], *, unique: bool) -> Iterator[Group]:
        """Every line in its languages.

        Args:
            unique: an id that stood in an earlier line is an error.
        """
        for line in lines:
            if isinstance(line, LineError):
                yield Group((), (), line)
            elif unique and line.id is not None and self._ids.setdefault(line.id, line.number) != line.number:
                problem = f"the id {line.id!r} is that of line {self._ids[line.id]}"
                yield Group((), (), LineError(line.number, problem, hint="Give each row its own, or none."))
            else:
                yield self._about_line(line)

    def _about_line(self, line: LineRow) -> Group:
        try:
            return self._asked_by(line)
        except VisiglotError as error:
            image = "; ".join(image for image in line.images if not is_data_url(image))
            return Group((), (), LineError(line.number, error.message, hint=error.hint, id=line.id, image=image))

    def _asked_by(self, line: LineRow) -> Group:
        refs = tuple(map(picture_of, line.images))
        codes = self.codes if line.languages is None else languages_of(line.languages, self._card)
        prompt = line.prompt if line.prompt is not None else self.prompt
        if prompt is None:
            raise DataError("no prompt", hint="Write one into the row, or give --prompt for all rows.")
        return Group(refs, self._questions(refs, prompt, codes, line))

    def _questions(
        self, refs: tuple[ImageRef, ...], prompt: str, codes: Sequence[str] | None, line: LineRow | None
    ) -> tuple[Question, ...]:
        """One for each language. A row's own id stays as it is, but for the code behind it where the row, or the
        command, gives a list of languages."""
        image = "; ".join(ref.name for ref in refs)
        keys = [_key(ref) for ref in refs if self._fingerprint is not None]
        own_id = None if line is None else line.id
        made_by = [self._task.generation.facts(), self._fingerprint]
        found = []
        for code in codes if codes is not None else (None,):
            words = self._task.words(prompt, named=code is not None)
            name = None if code is None else language(code).name
            parts = content(words, name, len(refs), self._placing)
            facts: list[Any] = [keys, code, repr(parts)]
            digest = hashlib.sha256(json.dumps([*facts, *made_by]).encode()).hexdigest()[:12]
            if line is None or line.id is None:
                row_id = "/".join(filter(None, (image, code, digest)))
            else:
                row_id = line.id if code is None or line.one_language else f"{line.id}/{code}"
            message = Message("user", parts)
            said = message.text.removeprefix(self._placing.gap * len(refs))
            asked = AnswerRow(row_id, image, code, said, None, None, None if own_id is None else digest)
            example = Example(row_id, (message,), code or ENGLISH, refs)
            found.append(Question(asked, example, json.dumps([*facts, own_id])))
        return tuple(found)


def languages_of(specs: Sequence[str], card: Sequence[str]) -> tuple[str, ...]:
    """The codes of what a user asks for; "all" are those on the model's card.

    Raises:
        LanguageError: see `resolve`.
        DataError: "all" of a model whose card lists none.
    """
    if not card and "all" in (item.strip().lower() for spec in specs for item in spec.split(",")):
        raise DataError("the model's card lists no languages", hint="Name some with --languages, as 'de,sw'.")
    return resolve(specs, all_codes=card)


def check_languages(spec: str | None) -> None:
    """Refuse a misspelt language before a model is loaded. Raises LanguageError."""
    if spec is not None:
        resolve(spec, all_codes=[row.code for row in all_languages()])


def _key(ref: ImageRef) -> str | None:
    """Hash of the picture's bytes; None where they can't be read, which its rows will say."""
    from visiglot.images import picture_hash

    try:
        return picture_hash(ref)
    except ImageError:
        return None
