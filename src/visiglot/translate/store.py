"""What engines said, kept by content: a text is translated once for each language and engine, ever.

A store is an SQLite file for one engine's identity, so that other weights or settings never answer for these. What is
added is on disk when `add` returns: a process that is killed loses what it was asking for and nothing else. Trouble
that may pass isn't kept: it is asked for again the next time.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from visiglot.config import cache_dir
from visiglot.errors import TranslationError
from visiglot.translate.engine import Output

ASKED_TOGETHER = 500
"""Texts in one question to SQLite, which allows 999 in old versions."""

WAIT = 120.0
"""Seconds that a process waits for another one that writes."""

_TABLE = """
CREATE TABLE IF NOT EXISTS outputs (
    source TEXT, target TEXT, text TEXT, translation TEXT, finished INTEGER, engine TEXT, reason TEXT,
    PRIMARY KEY (source, target, text)
) WITHOUT ROWID
"""


def store_path(identity: str) -> Path:
    """The cache's file for an engine."""
    return cache_dir() / "translations" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.sqlite"


class Outputs(Protocol):
    """Where outputs of one engine are kept: a `Store`, or one that another process has (`cluster`)."""

    def find(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
        """As `Store.find`."""

    def add(self, outputs: Mapping[str, Output], source: str, target: str) -> dict[str, Output]:
        """As `Store.add`."""


class Store:
    """Outputs of one engine on disk. Several processes may use it at a time.

    Args:
        path: the file, made where there is none; its folder too.

    Raises:
        TranslationError: the file can't be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=WAIT)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._connection:
                self._connection.execute(_TABLE)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def find(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
        """Those of `texts` that are kept. Raises TranslationError: the file can't be read."""
        found = {}
        with self._said():
            for first in range(0, len(texts), ASKED_TOGETHER):
                some = texts[first : first + ASKED_TOGETHER]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    "SELECT text, translation, finished, engine, reason FROM outputs "
                    f"WHERE source = ? AND target = ? AND text IN ({marks})",
                    (source, target, *some),
                )
                found.update({text: Output(said, bool(done), *rest) for text, said, done, *rest in rows})
        return found

    def add(self, outputs: Mapping[str, Output], source: str, target: str) -> dict[str, Output]:
        """Keep the outputs for some texts, all of them or none; what another process has kept for a text stays.

        Returns:
            What holds for these texts now: what is kept, and of those that may pass (`Output.passing`) what was given.

        Raises:
            TranslationError: they can't be written.
        """
        rows = [
            (source, target, text, one.text, int(one.finished), one.engine, one.reason)
            for text, one in outputs.items()
            if not one.passing
        ]
        with self._said(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO outputs VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        return {**outputs, **self.find(list(outputs), source, target)}

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise TranslationError(
                f"the store of translations {self.path} can't be used: {error}",
                hint="Free some space, or move the file away: what was finished is in --out all the same.",
            ) from error
