"""Files of each format of the table of sources, written as their authors write them, and what must be read from them.

Each module has a table FIXTURES: name of the format -> function that writes the files into a folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from tests.drawn import draw


@dataclass(frozen=True)
class Expected:
    """An example that must be read.

    Args:
        images: names of its pictures.
        asked, answer: words of the user's turns and of the assistant's, several turns joined by " | ".
        facts: those that it has at least.
    """

    id: str
    images: tuple[str, ...]
    asked: str
    answer: str
    language: str = "eng_Latn"
    facts: dict[str, str] = field(default_factory=dict)
    references: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Fixture:
    """A data set of a few rows on disk.

    Args:
        options: of the source, as a recipe gives them.
        expected: all examples in their order.
        spoil: damages one row's field in the files.
        spoilt: what the error then says: file, line and field, a regular expression.
        lost: ids of the examples that are gone with that row.
        escape: makes one row's picture lie outside its root; None where pictures are no paths.
    """

    options: dict[str, Any]
    expected: tuple[Expected, ...]
    spoil: Callable[[], None]
    spoilt: str
    lost: tuple[str, ...]
    escape: Callable[[], None] | None


def picture(folder: Path, *names: str) -> None:
    """Write small pictures, each of another colour and shape."""
    kinds = [(colour, shape) for shape in ("square", "circle", "bar") for colour in ("red", "green", "blue", "yellow")]
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(*kinds[number % len(kinds)]))


def write_list(path: Path, rows: Sequence[Any]) -> None:
    """Write a JSON list with a row a line, so that an error's line can be checked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[{lines}]", encoding="utf-8")


def replace_in(path: Path, old: str, new: str) -> None:
    """Replace the one place where `old` stands in a text file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def fixtures() -> dict[str, Callable[[Path], Fixture]]:
    """All tables in one."""
    found: dict[str, Callable[[Path], Fixture]] = {}
    for module in iter_modules(__path__):
        for name, write in import_module(f"{__name__}.{module.name}").FIXTURES.items():
            assert name not in found, name
            found[name] = write
    return found
