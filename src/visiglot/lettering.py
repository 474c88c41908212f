"""Words drawn on pictures, in the script that they are written in.

Letters join, stack, reorder and run to the left as their script wants it: HarfBuzz shapes them, by way of Raqm, which
Pillow's wheels bring. A picture of words that is wrong teaches wrong letters, so what can't be drawn right is an error:
there is no Raqm, or no font has a letter. A box never stands for one.

Fonts are a folder of files. Those below a folder that is called like a script (`Deva`, `Hans`, ISO 15924) are asked
first for languages of that script, since one Han character has several forms; then those below `Latn`, then the rest.
Where a font is cut into many files, `characters.json` beside them says which characters to look for in which.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, features

from visiglot.errors import DataError
from visiglot.languages import language as find_language

SUFFIXES = (".ttf", ".otf", ".ttc", ".woff2")

CHARACTERS = "characters.json"
"""File name -> characters as CSS writes a unicode-range ("U+20-7E,U+A0"), of fonts in the same folder."""

LEAST_SIZE = 6
"""Pixels; smaller letters can't be told apart."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two lie outside."""

Run = tuple[str, Path]
"""A stretch of a text and the font that has it."""

_PROBE = 48
"""Size at which glyphs are compared and texts are measured."""

_NO_CHARACTER = "\uffff"
"""In no font (Unicode, section 23.7), so what a font shows of it is what it shows of letters that it lacks."""

_REGULAR = 400
"""CSS's and OpenType's number for the usual weight."""


class Fonts:
    """The fonts of a folder, opened when they are needed.

    Args:
        folder: of font files, at any depth.

    Raises:
        DataError: it holds none, or Pillow can't shape text.
    """

    def __init__(self, folder: Path) -> None:
        if not features.check("raqm"):
            raise DataError(
                "this Pillow was built without Raqm, so it can't join or order the letters of most scripts",
                hint="Install Pillow's own wheel: pip install --force-reinstall --only-binary pillow pillow",
            )
        self.folder = folder
        self.paths = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES))
        if not self.paths:
            raise DataError(
                f"no font in {folder}",
                hint=f"Name a folder with files of {', '.join(SUFFIXES)}; `visiglot data fonts` fetches one.",
            )
        self._opened: dict[tuple[Path, int, ImageFont.Layout], ImageFont.FreeTypeFont] = {}
        self._stated = {path: found for file in folder.rglob(CHARACTERS) for path, found in _stated(file).items()}
        self._has: dict[tuple[Path, str], bool] = {}
        self._lacks: dict[Path, tuple[object, ...]] = {}
        self._orders: dict[str, tuple[Path, ...]] = {}

    def missing(self, text: str, language: str) -> str:
        """The characters of a text, each once, that no font has which may write the language."""
        wanted = dict.fromkeys(filter(_needs_glyph, unicodedata.normalize("NFC", text)))
        order = self._order(language)
        return "".join(one for one in wanted if not any(self._knows(path, one) for path in order))

    def runs(self, text: str, language: str) -> list[Run]:
        """A text cut where another font must go on. One font writes all of it if any can.

        Raises:
            DataError: no font has a letter, or words that run to the left would need two, whose order isn't certain.
        """
        text = unicodedata.normalize("NFC", text)
        order = self._order(language)
        whole = next((path for path in order if all(self._knows(path, one) for one in text)), None)
        if whole is not None:
            return [(text, whole)]
        found: list[Run] = []
        for cluster in _clusters(text):
            path = next((path for path in order if all(self._knows(path, one) for one in cluster)), None)
            if path is None:
                raise self._lacking(text, cluster, language)
            if found and found[-1][1] == path:
                found[-1] = (found[-1][0] + cluster, path)
            else:
                found.append((cluster, path))
        if any(unicodedata.bidirectional(one) in ("R", "AL") for one in text):
            raise DataError(
                f"no font of {self.folder} has all of {text!r}",
                hint="Words that run to the left are drawn in one font: add one that has all of these letters.",
            )
        return found

    def font(self, path: Path, size: int, layout: ImageFont.Layout = ImageFont.Layout.RAQM) -> ImageFont.FreeTypeFont:
        """A font at a size in pixels, in its regular weight. Raises DataError when the file is no font."""
        key = (path, size, layout)
        if key not in self._opened:
            try:
                font = ImageFont.truetype(path, size, layout_engine=layout)
            except OSError as error:
                raise DataError(
                    f"font {path} can't be read: {error}", hint="Take it out of the folder, or fetch it again."
                ) from error
            _set_weight(font)
            self._opened[key] = font
        return self._opened[key]

    def _order(self, language: str) -> tuple[Path, ...]:
        script = find_language(language).script
        if script not in self._orders:
            ranks = {script: 0, "Latn": 1}
            self._orders[script] = tuple(
                sorted(self.paths, key=lambda path: (ranks.get(self._script_of(path), 2), path))
            )
        return self._orders[script]

    def _script_of(self, path: Path) -> str:
        return path.relative_to(self.folder).parts[0]

    def _knows(self, path: Path, character: str) -> bool:
        """Whether a font has a glyph for a character: it shows another than for one that doesn't exist."""
        if not _needs_glyph(character):
            return True
        if path in self._stated and not self._stated[path].has(character):
            return False
        key = (path, character)
        if key not in self._has:
            if path not in self._lacks:
                self._lacks[path] = self._glyph(path, _NO_CHARACTER)
            self._has[key] = self._glyph(path, character) != self._lacks[path]
        return self._has[key]

    def _glyph(self, path: Path, character: str) -> tuple[object, ...]:
        font = self.font(path, _PROBE, ImageFont.Layout.BASIC)
        mask = font.getmask(character)
        return bytes(mask), mask.size, font.getlength(character), font.getbbox(character)

    def _lacking(self, text: str, cluster: str, language: str) -> DataError:
        lacks = self.missing(cluster, language) or cluster
        named = ", ".join(f"{one} (U+{ord(one):04X} {unicodedata.name(one, '')})".replace(" )", ")") for one in lacks)
        row = find_language(language)
        return DataError(
            f"no font of {self.folder} has {named}, of {text!r} in {row.name}",
            hint=f"Add a font with that letter to it, below {row.script}/ to be asked first.",
        )


class _Ranges:
    """Characters, as a unicode-range states them."""

    def __init__(self, stated: str) -> None:
        ends = [part.strip().removeprefix("U+").partition("-") for part in stated.split(",")]
        self._ranges = sorted((int(first, 16), int(last or first, 16)) for first, _, last in ends)

    def has(self, character: str) -> bool:
        place = bisect_right(self._ranges, (ord(character), 0x110000))
        return place > 0 and ord(character) <= self._ranges[place - 1][1]


def _stated(file: Path) -> dict[Path, _Ranges]:
    """The fonts beside a `characters.json`, and what it says of them."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return {file.parent / name: _Ranges(stated) for name, stated in table.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{file} can't be used: {error}", hint="It is a JSON object of file names and unicode-ranges; or delete it."
        ) from error


def draw_text(
    image: Image.Image,
    text: str,
    box: Box,
    *,
    fonts: Fonts,
    language: str,
    size: int | None = None,
    colour: tuple[int, int, int] = (0, 0, 0),
    align: Literal["left", "center", "right"] = "center",
) -> Box:
    """Draw one line of text into a picture, in place, its ink in the middle of a box's height.

    Args:
        image: RGB.
        text: of one line.
        box: that the ink stays in.
        language: FLORES-200 code; it decides which fonts are asked first, the direction and local forms of letters.
        size: of the font in pixels; default: the largest with which the text fits.
        align: where in the width of the box the ink is.

    Returns:
        The box of the ink.

    Raises:
        DataError: a letter that no font has, nothing to see in the text, or no room for it.
    """
    left, top, right, bottom = box
    room = (right - left, bottom - top)
    mask = text_mask(text, fonts=fonts, language=language, size=size) if size else _fitted(text, fonts, language, room)
    if mask.width > room[0] or mask.height > room[1]:
        raise _no_room(text, mask.size, room)
    spare = room[0] - mask.width
    x = left + {"left": 0, "center": spare // 2, "right": spare}[align]
    y = top + (room[1] - mask.height) // 2
    image.paste(colour, (x, y), mask)
    return x, y, x + mask.width, y + mask.height


def text_mask(text: str, *, fonts: Fonts, language: str, size: int) -> Image.Image:
    """One line of text as coverage: an "L" picture of its ink, cropped to it; 255 where it covers all of a pixel.

    Raises:
        DataError: a letter that no font has, more than one line, or nothing to see.
    """
    return _written(text, fonts.runs(_one_line(text), language), fonts, language, size)


def _fitted(text: str, fonts: Fonts, language: str, room: tuple[int, int]) -> Image.Image:
    """The largest mask that fits."""
    runs = fonts.runs(_one_line(text), language)
    probe = _written(text, runs, fonts, language, _PROBE)
    scale = min(room[0] / probe.width, room[1] / probe.height)
    size = max(int(_PROBE * scale) + 1, LEAST_SIZE)
    mask = _written(text, runs, fonts, language, size)
    while (mask.width > room[0] or mask.height > room[1]) and size > LEAST_SIZE:
        size -= 1
        mask = _written(text, runs, fonts, language, size)
    return mask


def _written(text: str, runs: Sequence[Run], fonts: Fonts, language: str, size: int) -> Image.Image:
    """Runs side by side on one baseline, cropped to their ink."""
    row = find_language(language)
    direction, tag = row.direction, row.bcp47
    opened = [(run, fonts.font(path, size)) for run, path in runs]
    widths = [font.getlength(run, direction=direction, language=tag) for run, font in opened]
    margin = 2 * size
    sheet = Image.new("L", (int(sum(widths)) + 2 * margin, 5 * size))
    draw = ImageDraw.Draw(sheet)
    x = float(margin)
    for (run, font), width in zip(opened, widths, strict=True):
        draw.text((x, 3 * size), run, fill=255, font=font, anchor="ls", direction=direction, language=tag)
        x += width
    ink = sheet.getbbox()
    if ink is None:
        raise DataError(f"text {text!r}: there is nothing to see in it", hint="Draw a text that has letters.")
    return sheet.crop(ink)


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise DataError(f"text {text!r} has more than one line", hint="Draw each line on its own.")
    return text


def _clusters(text: str) -> Iterator[str]:
    """A character with the marks and joiners that follow it."""
    cluster = ""
    for one in text:
        if cluster and unicodedata.category(one) not in ("Mn", "Mc", "Me", "Cf"):
            yield cluster
            cluster = ""
        cluster += one
    if cluster:
        yield cluster


def _needs_glyph(character: str) -> bool:
    """Not spaces, control characters and variation selectors, of which nothing is seen."""
    return unicodedata.category(character)[0] not in "ZC" and not "\ufe00" <= character <= "\ufe0f"


def _set_weight(font: ImageFont.FreeTypeFont) -> None:
    """Some variable fonts begin at their thinnest."""
    try:
        axes = font.get_variation_axes()
    except OSError:  # not variable
        return
    font.set_variation_by_axes([_REGULAR if axis["name"] == b"Weight" else axis["default"] or 0 for axis in axes])


def _no_room(text: str, needed: tuple[int, int], room: tuple[int, int]) -> DataError:
    return DataError(
        f"text {text!r} takes {needed[0]} x {needed[1]} pixels, the box has {room[0]} x {room[1]}",
        hint="Give it a larger box or a smaller size, or shorten it.",
    )
