"""From a file format to examples: what an adapter is, and how one joins the table of sources.

An adapter is a function that says which rows a format has and which examples are in a row. Everything else is the same
for all of them and is done here: the index, bad rows, languages, licence.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from visiglot.data.paths import join_below, resolve_below
from visiglot.data.rows import Row, Rows
from visiglot.data.source import SOURCES, Source
from visiglot.errors import DataError
from visiglot.languages import ENGLISH, language
from visiglot.types import Example, ImageRef, ImageSlot, Message, OnBad, Provenance

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Origin:
    """What all examples of a source share.

    Args:
        provenance: kept with each example.
        language: FLORES-200 code of the texts, where the format doesn't say it row by row.
    """

    provenance: Provenance
    language: str

    def caption(self, id: str, image: ImageRef, caption: str, *, language: str | None = None) -> Example:
        """A picture and its caption, with no words around them."""
        return self._example("caption", id, (image,), "", caption, {"caption": caption}, language)

    def question(
        self,
        id: str,
        images: Sequence[ImageRef],
        question: str,
        answer: str | None,
        *,
        answers: Sequence[str] = (),
        language: str | None = None,
        task: str = "vqa",
        **facts: str,
    ) -> Example:
        """Pictures, a question and its answer.

        Args:
            answer: what is trained; None in a split without answers, whose examples end with the question.
            answers: all that count as right, for evaluation; default: the answer.
            facts: what the source says besides (rationale=...).
        """
        own = {"question": question} | ({} if answer is None else {"answer": answer}) | facts
        return self._example(task, id, images, question, answer, own, language, answers)

    def turns(
        self,
        id: str,
        images: Sequence[ImageRef],
        messages: Sequence[Message],
        *,
        language: str | None = None,
        task: str = "conversation",
        **facts: str,
    ) -> Example:
        """A conversation as it stands."""
        return Example(
            id,
            tuple(messages),
            language or self.language,
            tuple(images),
            provenance=self.provenance,
            task=task,
            facts=facts,
        )

    def _example(
        self,
        task: str,
        id: str,
        images: Sequence[ImageRef],
        words: str,
        answer: str | None,
        facts: dict[str, str],
        language: str | None,
        answers: Sequence[str] = (),
    ) -> Example:
        asked: list[str | ImageSlot] = [ImageSlot(n) for n in range(len(images))]
        messages = [Message("user", tuple([*asked, words] if words else asked))]
        if answer is not None:
            messages.append(Message("assistant", (answer,)))
            answers = answers or (answer,)
        return Example(
            id,
            tuple(messages),
            language or self.language,
            tuple(images),
            references=tuple(answers),
            provenance=self.provenance,
            task=task,
            facts=facts,
        )


@dataclass(frozen=True, slots=True)
class Pictures:
    """A folder of pictures, which no path of a data file leaves."""

    root: Path

    def ref(self, row: Row, name: str, path: str) -> ImageRef:
        """The picture at `path`, which the row's field `name` says.

        Symbolic links are followed to see where they lead whenever an example is read, but not while a file is gone
        through, which would take a look at the disk for each.

        Raises:
            DataError: the path leaves the folder.
        """
        try:
            below = join_below if row.scanned else resolve_below
            return ImageRef(path, path=below(self.root, path, where=""))
        except DataError as error:
            raise row.error(name, error.message.removeprefix(": "), hint=error.hint) from error


@dataclass(frozen=True)
class Reading:
    """How the examples of a source are read.

    Args:
        rows: of its file.
        examples: those in a row, in an order that depends on the row alone; none where the row isn't wanted.
        reads: other files and folders that the examples depend on.
    """

    rows: Rows
    examples: Callable[[Row], Sequence[Example]]
    reads: Sequence[Path] = ()


@dataclass(frozen=True)
class Format:
    """A row of the documentation's table of formats.

    Args:
        title: of the data set or the format.
        licence: of its texts, as its authors state it; None: the user must say it.
        about: one sentence.
        own_languages: whether its rows say their languages themselves.
    """

    name: str
    title: str
    licence: str | None
    about: str
    own_languages: bool = False


FORMATS: dict[str, Format] = {}
"""What `adapter` has put into the table of sources, by name."""


COMMON = {
    "name": "what tables and messages call it; else the format's name",
    "licence": "of its texts, where it isn't the format's own",
    "language": "of the texts, where the format doesn't say it; else English",
    "on_bad": "a row that can't be used ends it, or is left out and counted",
    "max_bad": "share of the rows that skip may leave out before it gives up",
}
"""Options of every format, and what they say."""


def adapter(
    name: str, *, title: str, licence: str | None, own_languages: bool = False, version: int = 1
) -> Callable[[Callable[..., Reading]], Callable[..., Reading]]:
    """Put a format into the table of sources.

    The function below takes an Origin and its own options, which are keyword arguments: files and folders as Path,
    names as Literal. Each source also takes those in COMMON.

    Args:
        name: in the table.
        title: of the data set or the format.
        licence: its texts' licence; None where it depends on the file.
        own_languages: whether rows say their languages, in whatever way; else all are in the option's or in English.
        version: raised when the same file gives other examples than before, so that old indexes are made anew.
    """

    def register(function: Callable[..., Reading]) -> Callable[..., Reading]:
        def build(
            *,
            languages: Sequence[str],
            seed: int,
            on_bad: OnBad = "error",
            max_bad: Share = 0.01,
            **options: Any,
        ) -> Source:
            from visiglot.data.indexed import open_indexed

            called = options.pop("name", None) or name
            stated = options.pop("licence", None) or licence or "unknown"
            code = options.pop("language", None)
            origin = Origin(Provenance(called, stated), language(code).code if code else ENGLISH)
            own = {key: _as_kind(kinds.get(key), value) for key, value in options.items()}
            return open_indexed(
                called,
                function(origin, **own),
                identity={
                    "format": name,
                    "version": version,
                    "licence": stated,
                    "options": options,
                    "code": origin.language,
                },
                languages=languages,
                on_bad=on_bad,
                max_bad=max_bad,
            )

        kinds = typing.get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        text = inspect.Parameter.KEYWORD_ONLY
        common = [
            inspect.Parameter("languages", text),
            inspect.Parameter("seed", text),
            *[inspect.Parameter(key, text, default=None) for key in ("name", "licence", "language")],
            inspect.Parameter("on_bad", text, default="error"),
            inspect.Parameter("max_bad", text, default=0.01),
        ]
        build.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
        build.__annotations__ = {
            **{parameter.name: kinds[parameter.name] for parameter in own},
            **dict.fromkeys(("name", "licence", "language"), str | None),
            "languages": Sequence[str],
            "seed": int,
            "on_bad": OnBad,
            "max_bad": Share,
            "return": Source,
        }
        build.__doc__ = function.__doc__
        FORMATS[name] = Format(name, title, licence, (function.__doc__ or "").partition("\n")[0], own_languages)
        SOURCES.add(name, build)
        return function

    return register


def _as_kind(kind: Any, value: Any) -> Any:
    """Paths are written as text in recipes."""
    wants_path = kind is Path or Path in typing.get_args(kind)
    return Path(value).expanduser() if wants_path and isinstance(value, str) else value
