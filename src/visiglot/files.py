"""Writing files so that a reader, or a killed process, never sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from visiglot.errors import VisiglotError


def split_lines(text: str) -> tuple[list[str], str]:
    """The whole lines of a file that grows line by line, and the rest: what a killed process left of its last line.

    Only "\\n" ends a line; JSON texts may hold Unicode's other separators as they are.
    """
    *lines, rest = text.split("\n")
    return lines, rest


def write_text(text: str, path: Path, *, error: type[VisiglotError] = VisiglotError) -> None:
    """Write `text` as UTF-8 beside `path`, sync it and rename it, so that `path` is whole at all times.

    Args:
        error: what to raise when the file can't be written.
    """
    write_pieces((text,), path, error=error)


def write_pieces(pieces: Iterable[str], path: Path, *, error: type[VisiglotError] = VisiglotError) -> None:
    """`write_text` of texts one behind the other, which needn't be in memory together; what they raise is raised."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as reason:
        raise error(
            f"{path} can't be written: {reason.strerror or reason}", hint="Make room, or name another place."
        ) from reason
    finally:
        partial.unlink(missing_ok=True)
