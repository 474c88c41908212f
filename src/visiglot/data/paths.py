"""Paths that a data file gives: they stay below their root."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from visiglot.errors import DataError

_HINT = "Paths in a data file are relative to its root and stay below it."


def resolve_below(root: Path, relative: str, *, where: str) -> Path:
    """`root / relative`, which must stay below `root`, symbolic links included.

    Raises:
        DataError: the path is absolute or leaves the root.
    """
    path = root / PurePosixPath(relative)
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{where}: the picture's path {relative!r} leaves {root}", hint=_HINT)
    return path


def join_below(root: Path, relative: str, *, where: str) -> Path:
    """`resolve_below` by the path's text alone, without a look at the disk: symbolic links aren't followed.

    Raises:
        DataError: the path is absolute, has "..", or a null character.
    """
    if relative.startswith("/") or ".." in relative.split("/") or "\0" in relative:
        raise DataError(f"{where}: the picture's path {relative!r} leaves {root}", hint=_HINT)
    return Path(f"{root}/{relative}")
