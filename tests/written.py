"""Files of benchmarks, written for the tests: tables, lines of JSON, drawn pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.drawn import draw

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")


def encoded(colour: str) -> str:
    """A drawn picture in base64."""
    return base64.b64encode(draw(colour, "square")).decode()


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Lines with tabs between the fields; the columns are those of any row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(columns), *("\t".join(str(row.get(name, "")) for name in columns) for row in rows)]
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_pictures(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names):
        (folder / name).write_bytes(draw(COLOURS[n % len(COLOURS)], "square" if n % 2 else "circle"))


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
