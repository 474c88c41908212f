"""Every exception that Visiglot raises on purpose.

The command line turns each of them into one paragraph (what, where, what was found, what to do) and exit code 2;
anything else is a bug and keeps its traceback. What is no error but should be known is a `Notice`.

    VisiglotError
    ├── ConfigError          a recipe or an override is wrong; holds every problem found, not the first
    ├── UnknownNameError     a name is in no table; holds the nearest valid names
    │   └── LanguageError    a language code is unknown or ambiguous
    ├── DataError            a source, a row or a file of a data set can't be used
    │   ├── ImageError       a picture is missing, broken, too large or of a kind we don't read
    │   └── FetchError       a package of the built-in data can't be fetched or fails its hash
    ├── PromptError          text and pictures don't fit together (image tokens, turns, length)
    │   └── TooLongError     an example has more tokens than the model takes; batches count it as a skip
    ├── ModelError           a model can't be assembled from its parts
    │   ├── CheckpointError  a checkpoint is missing, incomplete, corrupt or can't be written
    │   └── ScoresError      a language model's scores aren't finite; names the rows
    ├── TrainingError        a run can't go on (no supervised tokens, a loss that isn't finite, another owner)
    ├── StoppedError         a run was asked to stop, and has saved where it is; no failure
    ├── TranslationError     an engine can't go on, or a data set can't be translated
    │   └── EngineError      an engine can't go on, and holds what it had made by then
    ├── EndpointError        a chat endpoint can't be used, or a limit on it is reached
    ├── ServeError           the server can't answer (it is closing, or the model failed)
    │   └── QueueFullError   too many are waiting, or one has waited too long
    ├── EvaluationError      predictions and references don't fit together
    └── MissingExtraError    an optional dependency isn't installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Notice(UserWarning):
    """Something that was decided for the user and might be meant otherwise; the command line shows it in a line."""


class VisiglotError(Exception):
    """Base of the tree. The message says what is wrong and where; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(VisiglotError):
    """A recipe, a configuration file or an override is wrong. `problems` has one line for each."""

    def __init__(self, where: str, problems: Sequence[str], *, hint: str | None = None) -> None:
        self.where = where
        self.problems = list(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{where}: {count} problem{'' if count == 1 else 's'}\n{lines}", hint=hint)


class UnknownNameError(VisiglotError):
    """A name was looked up in a table that doesn't hold it. `nearest` look like it, or begin with it."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        self.nearest = nearest(name, self.known) or [one for one in self.known if name and one.startswith(name)][:3]
        if hint is None:
            if self.nearest:
                hint = f"Did you mean {' or '.join(repr(n) for n in self.nearest)}?"
            else:
                hint = f"Known: {', '.join(self.known) or 'none'}."
        super().__init__(f"no such {kind}: {name!r}", hint=hint)


class LanguageError(UnknownNameError):
    """A language code, name or set is unknown or ambiguous."""


class DataError(VisiglotError):
    """A data source, one of its rows or one of its files can't be used."""


class ImageError(DataError):
    """A picture is missing, broken, too large, or of a kind that isn't read.

    Args:
        reason: which of these, in a word or three; what counts of bad pictures go by.
    """

    def __init__(self, message: str, *, hint: str | None = None, reason: str = "unreadable") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class FetchError(DataError):
    """A package of the built-in data can't be fetched, or what came isn't what was pinned."""


class PromptError(VisiglotError):
    """Text and pictures of one example don't fit together."""


class TooLongError(PromptError):
    """An example has more tokens than the model takes. Nothing is ever cut off to make it fit."""


class ModelError(VisiglotError):
    """A model can't be assembled, or one of its parts can't do what is asked."""


class CheckpointError(ModelError):
    """A checkpoint is missing, incomplete or corrupt, or can't be written."""


class ScoresError(ModelError):
    """A language model's scores aren't finite. `keys` are the rows that they are of."""

    def __init__(self, keys: Sequence[str], *, hint: str | None = None) -> None:
        super().__init__(f"decoding {', '.join(keys)}: the language model's scores aren't finite", hint=hint)
        self.keys = tuple(keys)


class TrainingError(VisiglotError):
    """A training run can't start or go on."""


class StoppedError(VisiglotError):
    """A run was asked to stop and has saved where it is.

    Args:
        number: of the signal that asked.
    """

    def __init__(self, message: str, number: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that shells report for that signal."""
        return 128 + self.number


class TranslationError(VisiglotError):
    """A translation engine can't go on, or a data set can't be translated."""


class EngineError(TranslationError):
    """A translation engine can't go on in the midst of the texts that it was given.

    Args:
        made: text -> its `translate.engine.Output`, of those that were done and may have been paid for.
    """

    def __init__(self, message: str, *, hint: str | None = None, made: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.made = dict(made or {})


class EndpointError(VisiglotError):
    """A chat endpoint can't be reached or used, or a limit that was set on it is reached."""


class ServeError(VisiglotError):
    """The server can't answer: it is closing, or the model failed in a way that the request isn't to blame for."""


class QueueFullError(ServeError):
    """More are waiting than the server lets wait, or one has waited for longer than it lets."""


class EvaluationError(VisiglotError):
    """Predictions, references and metrics don't fit together."""


class MissingExtraError(VisiglotError):
    """An optional dependency isn't installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} isn't installed", hint=f"pip install 'visiglot[{extra}]'")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of `known` that look like `name`, case ignored, best first."""
    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]
