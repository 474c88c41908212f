"""A translation memory on disk, by its texts: millions of units take a file and no memory."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from visiglot.data.index_files import index_folder
from visiglot.data.progress import Progress
from visiglot.data.rows import opened
from visiglot.errors import TranslationError
from visiglot.translate.engines.memory_files import Table, key_of, laid_out, read_units

FORMAT = 2
"""Raised when an index means something else than before, or texts are read otherwise."""

INDEX = "memory.sqlite"
ABOUT = "about.json"

_TABLE = "CREATE TABLE texts (unit INTEGER, language TEXT, hash INTEGER, text TEXT)"
_INDEXES = (
    "CREATE INDEX by_text ON texts (language, hash, unit)",
    "CREATE INDEX by_unit ON texts (unit, language)",
)
_COUNTS = """
SELECT language, SUM(n), SUM(units - 1)
FROM (SELECT language, COUNT(*) n, COUNT(DISTINCT unit) units FROM texts GROUP BY language, hash) GROUP BY language
"""
_FIND = """
SELECT here.text, there.text FROM texts here JOIN texts there ON there.unit = here.unit AND there.language = :target
WHERE here.language = :source AND here.hash = :hash ORDER BY here.unit, here.rowid, there.rowid
"""


@dataclass(frozen=True)
class About:
    """What is in a memory.

    Args:
        digest: SHA-256 of the file.
        texts: FLORES-200 code -> how many texts.
        repeated: FLORES-200 code -> how many of its texts stand in an earlier unit too.
        left_out: reason -> how many texts or units aren't used.
    """

    digest: str
    texts: dict[str, int]
    repeated: dict[str, int]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Memory:
    """Units of a file by their texts, through an index that is made at the first question.

    Args:
        path: a .tmx or .tsv file.
        table: how a .tsv file is written.
    """

    path: Path
    table: Table

    @cached_property
    def about(self) -> About:
        """Raises DataError: the file or the index can't be used."""
        return About(**json.loads((self._folder / ABOUT).read_text(encoding="utf-8")))

    def find(self, text: str, source: str, target: str) -> str | None:
        """The translation in the first unit that has this text and one; None: no unit has.

        Raises:
            DataError: the file can't be read.
            TranslationError: the index can't be read.
        """
        key = key_of(text)
        try:
            rows = self._index.execute(_FIND, {"source": source, "target": target, "hash": _hash(key)})
            return next((laid_out(there, text, here) for here, there in rows if key_of(here) == key), None)
        except sqlite3.Error as error:
            raise TranslationError(
                f"the index of {self.path} can't be read: {error}", hint=f"Remove {self._folder}; it is made anew."
            ) from error

    @cached_property
    def _folder(self) -> Path:
        table = {"columns": self.table.columns, "header": self.table.header, "quotes": self.table.quotes}
        identity = {"memory": FORMAT, **table}
        return index_folder(str(self.path), (self.path,), identity, self._build)

    @cached_property
    def _index(self) -> sqlite3.Connection:
        address = f"{(self._folder / INDEX).absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(address, uri=True, check_same_thread=False)

    def _build(self, folder: Path) -> None:
        with opened(self.path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        left_out: Counter[str] = Counter()
        with _new(folder / INDEX) as index:
            index.executemany("INSERT INTO texts VALUES (?, ?, ?, ?)", self._rows(left_out))
            for statement in _INDEXES:
                index.execute(statement)
            counts = index.execute(_COUNTS).fetchall()
        about = About(
            digest,
            {code: texts for code, texts, _ in counts},
            {code: repeated for code, _, repeated in counts},
            dict(left_out),
        )
        (folder / ABOUT).write_text(json.dumps(vars(about)), encoding="utf-8")

    def _rows(self, left_out: Counter[str]) -> Iterator[tuple[int, str, int, str]]:
        progress = Progress(f"index of {self.path}", "units")
        for number, unit in enumerate(read_units(self.path, self.table, left_out)):
            progress.advance()
            if len({code for code, _ in unit}) < 2:
                left_out["units in fewer than two languages"] += 1
                continue
            for code, text in dict.fromkeys(unit):
                yield number, code, _hash(key_of(text)), text
        progress.done()


@contextmanager
def _new(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that is thrown away if it isn't finished. Raises OSError: it can't be written."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_TABLE)
        yield connection
        connection.commit()
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)
