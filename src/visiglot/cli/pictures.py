"""The pictures that a command is given, and how they stand on a page."""

from __future__ import annotations

import glob
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from visiglot.errors import DataError, ImageError
from visiglot.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Of the files that are taken from a folder; a file that is named itself may be called anything."""

CARD_SIDE = 320
"""Pixels of the longer side of a picture on a page."""


def find_pictures(arguments: Sequence[str]) -> list[ImageRef]:
    """Files, folders (searched through, in sorted order) and patterns -> pictures, each path once.

    Raises:
        DataError: nothing is there, or a folder or pattern gives no picture.
    """
    paths: dict[Path, None] = {}
    for argument in arguments:
        paths.update(dict.fromkeys(_expand(argument)))
    return [ImageRef(path.as_posix(), path=path) for path in paths]


def _expand(argument: str) -> list[Path]:
    path = Path(argument).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise DataError(
                f"the folder {path} holds no pictures",
                hint=f"Looked for files that end in {', '.join(sorted(SUFFIXES))}.",
            )
        return found
    if path.is_file():
        return [path]
    if glob.has_magic(argument):
        found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
        if found:
            return found
        raise DataError(f"no file matches {argument!r}", hint="Check the pattern; '**' searches folders through.")
    raise DataError(f"there is no picture {path}", hint="Give a file, a folder, or a pattern in quotes ('pics/*.png').")


def refuse_foreign_page(path: Path) -> None:
    """Let a page replace an older page of ours, and nothing else.

    Raises:
        DataError: there is something else at `path`.
    """
    from visiglot.sheet import is_page

    if path.exists() and not is_page(path):
        raise DataError(f"{path} is there already and is no page of Visiglot's", hint="Name another --sheet.")


def card_image(ref: ImageRef) -> bytes | None:
    """The picture as a small PNG for a page; None when it can't be read (its row says why)."""
    from visiglot.data.images import load_image

    try:
        picture = load_image(ref)
    except ImageError:
        return None
    picture.thumbnail((CARD_SIDE, CARD_SIDE))
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
