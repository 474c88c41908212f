"""Reading pictures that nobody vouches for.

The kind of a file is told by its first bytes, never by its name; size, frames and pixels are checked from the header
before anything is decoded. A picture that can't be read whole is an error, never a grey or black square.
"""

from __future__ import annotations

import base64
import hashlib
import re
import stat
from collections.abc import Callable
from io import BytesIO
from typing import cast
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    TiffTags,
    WebPImagePlugin,
)

from visiglot.errors import ImageError
from visiglot.image_parts import Frugal, exif_of_jpeg, has_more_gif_frames, without_ballast
from visiglot.types import ImageRef

MAX_PIXELS = 50_000_000
MAX_BYTES = 64 * 2**20
MAX_FRAMES = 1000
"""Frames or pages a file may have; only the first is ever shown."""

DATA = "data:"
"""What data URLs begin with."""

MAX_ESCAPED = 2**20
"""Characters of a data URL with escapes (%41): a few bytes each here, and hundreds on the way."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_OPENERS: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274
"""Tags of TIFF."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of an orientation (EXIF 2.32, section 4.6.4) upright."""

_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def picture_hash(ref: ImageRef, *, max_bytes: int = MAX_BYTES) -> str:
    """`ImageRef.key` of a picture that nobody vouches for: no more than `max_bytes` of it are ever read.

    Raises:
        ImageError: missing, empty, too many bytes, or unreadable.
    """
    return hashlib.sha256(_read(ref, max_bytes)).hexdigest()


def in_memory(ref: ImageRef, *, max_bytes: int = MAX_BYTES) -> ImageRef:
    """The same picture with its encoded bytes in memory, not looked into.

    Raises:
        ImageError: missing, empty, too many bytes, or unreadable.
    """
    return ImageRef(ref.name, data=_read(ref, max_bytes))


def load_image(ref: ImageRef, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Read a picture as 8-bit RGB, upright, its first frame, on white where it is transparent.

    Args:
        ref: the picture.
        max_pixels: width times height that it may have.
        max_bytes: encoded bytes that it may have.

    Raises:
        ImageError: missing, empty, too many bytes, pixels or frames, no format that is read, or broken.
    """
    return as_shown(_checked(ref, max_pixels, max_bytes), ref.name)


def picture_size(ref: ImageRef, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> tuple[int, int]:
    """Width and height by the header; nothing is decoded.

    Raises:
        ImageError: as of `load_image`, as far as it can be known without decoding.
    """
    return _checked(ref, max_pixels, max_bytes).size


def data_url_bytes(url: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a data URL (RFC 2397). No message holds more than the URL's first characters.

    Raises:
        ImageError: no data URL, no base64 where it says so, or too many bytes.
    """
    hint = "Write data:image/png;base64, and then the file's bytes in base64."
    head, comma, body = url.partition(",")
    short = url if len(url) <= 64 else f"{url[:64]}…"
    if not comma or head[: len(DATA)].lower() != DATA:
        raise ImageError(f"the data URL {short} has no comma before its data", hint=hint, reason="broken URL")
    coded = head.lower().endswith(";base64")
    if coded and "%" in body:  # as some programs write the three signs that aren't letters or digits
        for sign in "+/=":
            body = body.replace(f"%{ord(sign):02X}", sign).replace(f"%{ord(sign):02x}", sign)
    escaped = "%" in body or not coded
    if escaped and len(body) > MAX_ESCAPED:
        raise _too_large("the data URL, which isn't plain base64,", len(body), MAX_ESCAPED)
    if not escaped and len(body) * 3 // 4 > max_bytes + 2:
        raise _too_large("the data URL", len(body) * 3 // 4, max_bytes)
    data = unquote_to_bytes(body) if escaped else body.encode(errors="replace")
    if coded:
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError as error:
            raise ImageError(f"the data URL {short} is no base64: {error}", hint=hint, reason="broken URL") from error
    if len(data) > max_bytes:
        raise _too_large("the data URL", len(data), max_bytes)
    return data


def as_shown(picture: Image.Image, name: str) -> Image.Image:
    """A picture that Pillow has opened as 8-bit RGB, upright, on white where it is transparent.

    Raises:
        ImageError: broken, or samples of which black and white aren't known; it calls the picture `name`.
    """
    try:
        _scale_transparent_value(picture)
        picture.load()
        ends = _black_and_white(picture)
        method = _UPRIGHT.get(_orientation(picture))
        return _rgb(name, picture if method is None else picture.transpose(method), ends)
    except ImageError:
        raise
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise _broken(name, picture.format, error) from error


def _checked(ref: ImageRef, max_pixels: int, max_bytes: int) -> ImageFile.ImageFile:
    """A picture of which the header is read, and found to be within limits."""
    data = _read(ref, max_bytes)
    picture = _open(ref, data)
    width, height = picture.size
    if width * height > max_pixels:
        raise ImageError(
            f"picture {ref.name}: {width} x {height} pixels, the limit is {max_pixels:,} in all",
            hint="Scale it down, or raise max_pixels if the picture can be trusted.",
            reason="too many pixels",
        )
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            f"picture {ref.name}: Pillow was told to accept truncated files, which would show a part as a whole",
            hint="Some other code set PIL.ImageFile.LOAD_TRUNCATED_IMAGES; set it back to False.",
        )
    try:
        many = _has_more_frames(picture, data)
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise _broken(ref.name, picture.format, error) from error
    if many:
        raise ImageError(
            f"picture {ref.name}: more than {MAX_FRAMES:,} frames",
            hint="Only the first frame is shown; save that one as a picture of its own.",
            reason="too many frames",
        )
    return picture


def _read(ref: ImageRef, max_bytes: int) -> bytes:
    """The encoded bytes, of which no more than the limit are ever read."""
    if ref.data is not None:
        data, size = ref.data, len(ref.data)
    else:
        assert ref.path is not None
        try:
            status = ref.path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(
                    f"picture {ref.name}: {ref.path} is not a file",
                    hint="Give the path of a picture file.",
                    reason="missing",
                )
            size = status.st_size
            with ref.path.open("rb") as file:
                data = file.read(max_bytes + 1)
        except FileNotFoundError as error:
            raise ImageError(
                f"picture {ref.name}: there is no file {ref.path}",
                hint="Check the path and the folder it starts from.",
                reason="missing",
            ) from error
        except OSError as error:
            raise ImageError(
                f"picture {ref.name}: {ref.path} can't be read: {error.strerror or error}",
                hint="Check the file's permissions and its disk.",
            ) from error
    if max(size, len(data)) > max_bytes:
        raise _too_large(f"picture {ref.name}", max(size, len(data)), max_bytes)
    if not data:
        raise ImageError(
            f"picture {ref.name}: the file is empty", hint="Copy or fetch the picture again.", reason="empty"
        )
    return data


def _open(ref: ImageRef, data: bytes) -> ImageFile.ImageFile:
    """Read the header. The plugins are called directly, past Pillow's global limit on pixels: ours is per call."""
    kind = _sniff(data)
    if kind is None:
        raise ImageError(
            f"picture {ref.name}: no picture format that is read; the file begins with {data[:12]!r}",
            hint=f"Convert it to one of {', '.join(FORMATS)}.",
            reason="unknown kind",
        )
    try:
        file = Frugal(without_ballast(kind, data))
        picture = _OPENERS[kind](file)
        if kind == "JPEG" and (exif := exif_of_jpeg(data)) is not None:
            picture.info["exif"] = exif
        if kind == "TIFF":  # what Pillow reads behind the pixels
            tags = picture.getexif()
            for group in TiffTags.TAGS_V2_GROUPS:
                if group in tags:
                    tags.get_ifd(group)
        file.left = None
        return picture
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise _broken(ref.name, kind, error) from error


def _orientation(picture: Image.Image) -> int:
    """As EXIF says, else XMP; what can't be read says nothing. 1 of a TIFF, which Pillow turns as it decodes it."""
    if picture.format == "TIFF":
        return 1
    exif, profile = picture.info.get("exif"), picture.info.get("Raw profile type exif")
    try:
        if exif is None and profile:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        if exif:
            while exif.startswith(b"Exif\0\0"):
                exif = exif[6:]
            found = Image.Exif()
            found.load_from_fp(Frugal(exif))
            if _ORIENTATION in found:
                return int(found[_ORIENTATION])
    except Exception:  # hostile or broken, and not of the picture itself
        pass
    xmp = picture.info.get("XML:com.adobe.xmp") or picture.info.get("xmp") or b""
    match = _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
    return int(match[1]) if match else 1


def _sniff(data: bytes) -> str | None:
    """The format by the signature that each specification gives."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    return None


def _has_more_frames(picture: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether there are more than MAX_FRAMES, by headers alone.

    Frames of a GIF and pages of a TIFF are followed no further than that: each is slow to find, and a file may have
    millions.
    """
    if picture.format == "GIF":
        return has_more_gif_frames(data, MAX_FRAMES)
    if picture.format != "TIFF":
        return int(getattr(picture, "n_frames", 1)) > MAX_FRAMES
    try:
        _OPENERS["TIFF"](Frugal(data)).seek(MAX_FRAMES)
    except EOFError:
        return False
    return True


def _scale_transparent_value(picture: Image.Image) -> None:
    """Bring the transparent value of a PNG that isn't decoded yet to 8 bits.

    Pillow does so with the samples of 2, 4 and 3 x 16 bits but not with the value, which then matches none of them. Of
    16 bits the upper 8 are compared, since Pillow keeps no more.
    """
    value = picture.info.get("transparency")
    tile = getattr(picture, "tile", None)
    if value is None or not tile or picture.format != "PNG":
        return
    match tile[0][3]:
        case "L;2":
            picture.info["transparency"] = value * 85
        case "L;4":
            picture.info["transparency"] = value * 17
        case "RGB;16B":
            picture.info["transparency"] = tuple(sample >> 8 for sample in value)


def _black_and_white(picture: Image.Image) -> tuple[int, int]:
    """The samples of 16-bit grey that are black and white: a TIFF may have fewer bits, and may say that 0 is white."""
    tags = getattr(picture, "tag_v2", {})
    white = (1 << int(tags.get(_BITS_PER_SAMPLE, (16,))[0])) - 1
    return (white, 0) if tags.get(_PHOTOMETRIC) == 0 else (0, white)


def _rgb(name: str, picture: Image.Image, ends: tuple[int, int]) -> Image.Image:
    if picture.mode in _SIXTEEN_BIT:
        picture = _eight_bit(picture, *ends)
    if picture.mode in ("I", "F"):
        raise ImageError(
            f"picture {name}: 32-bit samples (mode {picture.mode}), of which black and white aren't known",
            hint="Convert it to 8 or 16 bits a channel.",
            reason="32-bit samples",
        )
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    over = picture.convert("RGBA")
    white = Image.new("RGBA", over.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, over).convert("RGB")


def _eight_bit(picture: Image.Image, black: int, white: int) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips. A transparent value becomes alpha."""
    samples = np.asarray(picture)
    most = max(black, white)
    share = abs(np.arange(2**16).clip(max=most) - black)
    grey = Image.fromarray(((share * 255 + most // 2) // most).astype(np.uint8)[samples])
    transparent = picture.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(samples == cast(int, transparent), 0, 255).astype(np.uint8)))
    return grey


def _too_large(what: str, size: int, max_bytes: int) -> ImageError:
    return ImageError(
        f"{what}: {size:,} bytes, the limit is {max_bytes:,}",
        hint="Save it smaller, or raise max_bytes if the picture can be trusted.",
        reason="too many bytes",
    )


def _broken(name: str, kind: str | None, error: Exception) -> ImageError:
    return ImageError(
        f"picture {name}: broken {kind or 'picture'}: {error or type(error).__name__}",
        hint="Copy or fetch it again; if it opens elsewhere, save it anew as PNG or JPEG.",
        reason="broken",
    )
