"""Pictures of the concepts: found in the packages, drawn at 64 pixels."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from visiglot.data.nano.concepts import Emoji
from visiglot.data.nano.fetch import read_members
from visiglot.data.nano.settings import Style
from visiglot.errors import ImageError, MissingExtraError

SIZE = 64
"""Side of a stored picture in pixels."""

OVERSAMPLING = 2
"""An SVG is drawn this many times larger and averaged down, which smooths the edges of clip paths."""


def read_drawings(tarball: Path, style: Style) -> dict[str, bytes]:
    """The files of one style by key: code points without FE0F in upper-case hex ("1F436"), or the slug of a name.

    Raises:
        FetchError: the tarball can't be read.
    """
    drawings: dict[str, bytes] = {}
    for name, content in read_members(tarball, lambda name: name.startswith(style.folder)):
        path = PurePosixPath(name)
        if path.suffix in (".svg", ".png"):
            drawings[_codepoints(path.stem) if style.by == "codepoints" else path.stem] = content
    return drawings


def find_drawings(
    drawings: Mapping[str, bytes], style: Style, emoji: Iterable[Emoji], english: Mapping[str, str]
) -> dict[str, bytes]:
    """The drawing of each emoji that the style has, by id.

    A style that names its files by slug is asked for CLDR's English name, then for emojibase's.
    """
    found: dict[str, bytes] = {}
    for one in emoji:
        keys = [one.id] if style.by == "codepoints" else [slug(english.get(one.text, "")), slug(one.label)]
        for key in keys:
            if key in drawings:
                found[one.id] = drawings[key]
                break
    return found


def slug(name: str) -> str:
    """ "T-Rex" -> "t-rex", "piñata" -> "pinata": lower case, ASCII letters and digits, the rest one hyphen."""
    ascii_name = unicodedata.normalize("NFKD", name.replace("’", "")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")


def render_picture(drawing: bytes, *, name: str) -> bytes:
    """An SVG or PNG drawing as a SIZE x SIZE RGB PNG on white, with the drawing's own margins.

    Raises:
        ImageError: the drawing can't be read.
        MissingExtraError: the drawing is an SVG and resvg-py isn't installed.
    """
    if not drawing.startswith(b"\x89PNG"):
        drawing = _rasterise(drawing, name)
    try:
        with Image.open(io.BytesIO(drawing)) as image:
            picture = image.convert("RGBA")
    except (UnidentifiedImageError, OSError) as error:
        raise ImageError(f"{name} can't be read as a picture: {error}", hint="Fetch its package again.") from error
    canvas = Image.new("RGBA", picture.size, "white")
    canvas.alpha_composite(picture)
    flat = canvas.convert("RGB")
    if flat.size != (SIZE, SIZE):
        flat = flat.resize((SIZE, SIZE), Image.Resampling.BOX if flat.width % SIZE == 0 else Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    flat.save(stream, "PNG")
    return stream.getvalue()


def _rasterise(svg: bytes, name: str) -> bytes:
    try:
        import resvg_py
    except ModuleNotFoundError as error:
        raise MissingExtraError("resvg-py, which draws the SVG pictures of the built-in data,", "train") from error
    side = SIZE * OVERSAMPLING
    try:
        rendered = resvg_py.svg_to_bytes(
            svg_string=svg.decode("utf-8"), width=side, height=side, skip_system_fonts=True
        )
    except ValueError as error:
        raise ImageError(f"{name} can't be drawn: {error}", hint="Fetch its package again.") from error
    return bytes(rendered)


def _codepoints(stem: str) -> str:
    return "-".join(part.upper().zfill(4) for part in stem.split("-") if part.upper() != "FE0F")
