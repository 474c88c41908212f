"""The pictures that a command is given, and how they stand on a page."""

from __future__ import annotations

import base64
import glob
import hashlib
import math
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote_to_bytes

from visiglot.errors import DataError, ImageError
from visiglot.types import ImageRef

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Of the files that are taken from a folder; a file that is named itself may be called anything."""

CARD_SIDE = 320
"""Pixels of the longer side of a picture on a page."""

CARD_GAP = 8
"""Pixels between pictures that stand side by side."""

DATA = "data:"
"""What data URLs begin with."""

DATA_HINT = "Write data:image/png;base64, and then the file's bytes in base64."
URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


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


def picture_of(text: str) -> ImageRef:
    """A picture that a row of stdin names: a path, or its bytes as a data URL, which is then called by their hash.

    Raises:
        DataError: a URL of another kind, or a broken one.
    """
    if is_data_url(text):
        data = _data_of(text[len(DATA) :])
        return ImageRef(f"{DATA}{hashlib.sha256(data).hexdigest()[:12]}", data=data)
    if URL.match(text):
        raise DataError(
            f"the picture {_short(text)} is no file; nothing is fetched",
            hint="Save it first, or give its bytes as a data URL.",
        )
    path = Path(text).expanduser()
    return ImageRef(path.as_posix(), path=path)


def is_data_url(text: str) -> bool:
    return text[: len(DATA)].lower() == DATA


def _data_of(url: str) -> bytes:
    """The bytes of a data URL (RFC 2397) less its scheme."""
    head, comma, body = url.partition(",")
    if not comma:
        raise DataError(f"the data URL data:{_short(url)} has no comma before its data", hint=DATA_HINT)
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body), validate=True)
    except ValueError as error:
        raise DataError(f"the data URL data:{_short(url)} is no base64: {error}", hint=DATA_HINT) from error


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def refuse_foreign_page(path: Path) -> None:
    """Let a page replace an older page of ours, and nothing else.

    Raises:
        DataError: there is something else at `path`.
    """
    from visiglot.sheet import is_page

    if path.exists() and not is_page(path):
        raise DataError(f"{path} is there already and is no page of Visiglot's", hint="Name another --sheet.")


def card_image(*refs: ImageRef) -> bytes | None:
    """Pictures as one small PNG for a page, up to three side by side and more in a square; None for none, or if one
    can't be read (its row says why)."""
    from PIL import Image

    from visiglot.images import load_image

    try:
        pictures = [load_image(ref) for ref in refs]
    except ImageError:
        return None
    for picture in pictures:
        picture.thumbnail((CARD_SIDE, CARD_SIDE))
    if not pictures:
        return None
    columns = len(pictures) if len(pictures) <= 3 else math.isqrt(len(pictures) - 1) + 1
    lines = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    widths = [sum(picture.width for picture in line) + CARD_GAP * (len(line) - 1) for line in lines]
    heights = [max(picture.height for picture in line) for line in lines]
    card = Image.new("RGB", (max(widths), sum(heights) + CARD_GAP * (len(lines) - 1)), "white")
    top = 0
    for line, height in zip(lines, heights, strict=True):
        left = 0
        for picture in line:
            card.paste(picture, (left, top))
            left += picture.width + CARD_GAP
        top += height + CARD_GAP
    file = BytesIO()
    card.save(file, "PNG", optimize=True)
    return file.getvalue()
