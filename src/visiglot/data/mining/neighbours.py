"""Mined neighbours as they lie on disk.

neighbours.i32 [n, ranks]    numbers of examples of the source; -1 where there is none
about.json                   source, encoder and ranks; there when the search is done
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from visiglot.data.index_files import mapped
from visiglot.data.source import Source
from visiglot.errors import DataError

RANKS = (3, 10, 30, 100, 300)
"""mBLIP's: the third nearest caption, the tenth, ..."""

ABOUT = "about.json"
TABLE = "neighbours.i32"

FORMAT = 1

LOOKED_AT = 128
"""Examples that a source is told by."""

_HINT = "`visiglot data mine` makes such folders."


class Neighbours:
    """The neighbours of a source's captions, each in its own language.

    Args:
        folder: where `visiglot data mine` put them.

    Raises:
        DataError: there are none, or not all yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self.source: str = about["source"]
            self.encoder: str = about["encoder"]
            self.ranks: tuple[int, ...] = tuple(about["ranks"])
            self._examples: int = about["examples"]
            self._fingerprint: str = about["fingerprint"]
            self._table = mapped(folder / TABLE, np.int32).reshape(self._examples, len(self.ranks))
        except FileNotFoundError as error:
            raise DataError(f"{folder} holds no mined neighbours: it has no {ABOUT}", hint=_HINT) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}: its mined neighbours can't be read: {error}", hint=_HINT) from error

    def __len__(self) -> int:
        return self._examples

    def rank(self, index: int) -> tuple[int, ...]:
        """The neighbours of the source's example `index` at `ranks`, nearest first; ranks that it lacks are left out.

        A neighbour is a number of the source too. Its text isn't the example's, nor its picture.
        """
        return tuple(int(found) for found in self._table[index] if found >= 0)

    def count(self) -> tuple[int, ...]:
        """How many examples have a neighbour at each of `ranks`."""
        return tuple(int(n) for n in (self._table >= 0).sum(axis=0))

    def check(self, source: Source) -> None:
        """Raises DataError: these aren't the neighbours of this source's examples in their present order."""
        if len(source) != len(self):
            raise DataError(
                f"{self.folder} holds the neighbours of {len(self):,} examples of {self.source}, but source "
                f"{source.name} has {len(source):,}",
                hint="Mine this source, with the options that it has here.",
            )
        if fingerprint(source) != self._fingerprint:
            raise DataError(
                f"{self.folder} holds the neighbours of other examples ({self.source}) than those of source "
                f"{source.name}, or they are in another order",
                hint="Mine this source, with the options that it has here.",
            )


def fingerprint(source: Source) -> str:
    """What a source is told from others by: its number of examples, and what some of them, spread evenly, say.

    Where its files lie doesn't matter, nor which languages it was asked for.
    """
    digest = hashlib.sha256(str(len(source)).encode())
    for index in np.unique(np.linspace(0, max(len(source) - 1, 0), min(LOOKED_AT, len(source)), dtype=np.int64)):
        example = source[int(index)]
        digest.update(json.dumps([example.id, example.language, example.facts.get("caption")]).encode())
    return digest.hexdigest()[:32]
