"""Paths that a data file gives, which stay below their root; and those of data files that aren't there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from visiglot.errors import DataError

_HINT = "Paths in a data file are relative to its root and stay below it."


def check_path(path: Path) -> str:
    """The hint where a source's file isn't there: of a relative path, the folder that it starts from."""
    return f"Check the path of the source{'' if path.is_absolute() else f', which starts from {Path.cwd()}'}."


def resolve_below(root: Path, relative: str, *, where: str) -> Path:
    """`root / relative`, which must stay below `root`, symbolic links included.

    Raises:
        DataError: the path is absolute or leaves the root; where a link is what leads out, the hint says which root
            would do.
    """
    path = join_below(root, relative, where=where)
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise DataError(f"{where}: {_leaves(relative, root)} by a link, to {real}", hint=_cure(real, relative))
    return path


def join_below(root: Path, relative: str, *, where: str) -> Path:
    """`resolve_below` by the path's text alone, without a look at the disk: symbolic links aren't followed.

    Raises:
        DataError: the path is absolute, has "..", or a null character.
    """
    if relative.startswith("/") or ".." in relative.split("/") or "\0" in relative:
        raise DataError(f"{where}: {_leaves(relative, root)}", hint=_HINT)
    return Path(f"{root}/{relative}")


def _leaves(relative: str, root: Path) -> str:
    return f"the picture's path {relative!r} leaves {root}"


def _cure(real: Path, relative: str) -> str:
    """What to do about a link out of the root, to `real`."""
    parts = PurePosixPath(relative).parts
    if real.parts[-len(parts) :] == parts:
        where = real.parents[len(parts) - 1]
        return f"Links aren't followed out of the root. Name the folder in which the pictures really are: {where}."
    return (
        "Links aren't followed out of the root. Name a root in which the pictures really are, or put the folder there "
        "by a mount (`mount --bind`) or a copy instead of a link."
    )
