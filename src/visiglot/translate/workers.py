"""Processes of a cluster that translate, or have the store; what they send, errors too, is plain data.

`cluster` starts them.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from visiglot import machines
from visiglot.environment import versions
from visiglot.errors import Notice, TranslationError, VisiglotError
from visiglot.translate.engine import Engine, Output
from visiglot.translate.store import Store
from visiglot.translate.translator import Answers, Questions, Translator

if TYPE_CHECKING:
    from visiglot.translate.filters import Filters

ALIKE = "Every machine needs this version of visiglot and, at the same paths, the files that the engine's options name."
"""What a user is told who has machines that differ."""

_Value = TypeVar("_Value")


def load_ray() -> Any:
    """The module `ray`. Raises MissingExtraError."""
    return machines.load_ray("--engine-workers")


@dataclass(frozen=True)
class Order:
    """What makes a worker.

    Args:
        identity: that its engine must have.
        version: that visiglot must have.
        folder: from which relative paths lead to files.
    """

    make: Callable[[], Engine]
    filters: Filters
    source: str
    identity: str
    version: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Failed:
    """A VisiglotError of another process."""

    message: str
    hint: str | None
    host: str


class Worker:
    """Has an engine, which it makes once."""

    def __init__(self, order: Order, desk: Any) -> None:
        self.order = order
        self.desk = desk

    def ready(self) -> Failed | None:
        """Make the engine, and see that it is the right one."""
        return caught(self._make)

    def answer(self, questions: Questions) -> tuple[Answers, list[str]] | Failed:
        """Translations of a shard's texts, and the notices that there were."""
        return caught(lambda: self._answer(questions))

    def _make(self) -> None:
        order, found = self.order, versions().get("visiglot", "")
        if found != order.version:
            raise TranslationError(f"visiglot is {found} here, and {order.version} where it was started", hint=ALIKE)
        if order.folder.is_dir():
            os.chdir(order.folder)
        engine = order.make()
        if engine.identity != order.identity:
            raise TranslationError(f"engine {engine.name} differs from that where it was started", hint=ALIKE)
        self.translator = Translator(engine, AtDesk(self.desk), order.filters, order.source)

    def _answer(self, questions: Questions) -> tuple[Answers, list[str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", Notice)
            answers = self.translator.answer(questions)
        return answers, [str(one.message) for one in caught if issubclass(one.category, Notice)]


class Desk:
    """Has the store, for all workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: Store | None = None

    def find(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output] | Failed:
        return caught(lambda: self._open().find(texts, source, target))

    def add(self, outputs: Mapping[str, Output], source: str, target: str) -> dict[str, Output] | Failed:
        return caught(lambda: self._open().add(outputs, source, target))

    def _open(self) -> Store:
        if self.store is None:
            self.store = Store(self.path)
        return self.store


class AtDesk:
    """The store as a worker has it."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    def find(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
        return dict(value(load_ray().get(self.desk.find.remote(texts, source, target))))

    def add(self, outputs: Mapping[str, Output], source: str, target: str) -> dict[str, Output]:
        return dict(value(load_ray().get(self.desk.add.remote(outputs, source, target))))


def caught(function: Callable[[], _Value]) -> _Value | Failed:
    """What a function returns, or the VisiglotError that it raises, as what other processes can be sent."""
    try:
        return function()
    except VisiglotError as error:
        return Failed(error.message, error.hint, socket.gethostname())


def value(sent: Any) -> Any:
    """What another process sent. Raises TranslationError: it was an error."""
    if isinstance(sent, Failed):
        elsewhere = "" if sent.host == socket.gethostname() else f"on {sent.host}: "
        raise TranslationError(f"{elsewhere}{sent.message}", hint=sent.hint)
    return sent
