"""Files that are small and would take long: each is refused, or read, in next to no time.

Time itself isn't measured: the tests hold what is walked, and by whom.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from visiglot.errors import ImageError
from visiglot.image_parts import BYTES_PER_PART, PARTS, READS, SCANS, exif_of_jpeg, without_ballast
from visiglot.images import _orientation, load_image, picture_size
from visiglot.types import ImageRef

PNG = b"\x89PNG\r\n\x1a\n"
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"
FRAME = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*before: bytes, side: int = 4) -> bytes:
    """A grey PNG with chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes((side + 1) * min(side, 100))))
    return PNG + header + b"".join(before) + pixels + chunk(b"IEND", b"")


def jpeg(*, progressive: bool, side: int = 64) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", progressive=progressive)
    return file.getvalue()


def refused(data: bytes) -> str:
    """Why neither the header nor the picture can be had."""
    with pytest.raises(ImageError) as looked:
        picture_size(ImageRef("x", data=data))
    with pytest.raises(ImageError) as loaded:
        load_image(ImageRef("x", data=data))
    assert looked.value.message == loaded.value.message
    return looked.value.message


def test_the_size_is_told_without_decoding() -> None:
    data = png(side=5000)
    assert len(data) < 10_000
    assert picture_size(ImageRef("x", data=data)) == (5000, 5000)
    cut = ImageRef("x", data=data[:-40])
    assert picture_size(cut) == (5000, 5000)
    with pytest.raises(ImageError, match="broken PNG"):
        load_image(cut)
    with pytest.raises(ImageError, match="5000 x 5000"):
        picture_size(ImageRef("x", data=data), max_pixels=5000 * 5000 - 1)


def test_a_png_s_texts_are_never_unpacked() -> None:
    bomb = zlib.compress(b"a" * 1_000_000)
    data = png(*(chunk(b"zTXt", b"key %d\0\0" % number + bomb) for number in range(100)))
    with pytest.raises(ValueError, match="Too much memory"):  # Pillow's own limit comes after 64 MB
        Image.open(BytesIO(data)).load()
    assert load_image(ImageRef("x", data=data)).size == (4, 4)
    assert len(without_ballast("PNG", data)) == len(png())


def test_a_text_that_says_which_side_is_up_is_read_once() -> None:
    picture = Image.new("RGB", (3, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    profile = b"Exif\0\0" + exif.tobytes()[6:]
    info.add_text("Raw profile type exif", f"\nexif\n{len(profile):8}\n{profile.hex()}\n", zip=True)
    info.add_text("Comment", "x" * 1000, zip=True)
    file = BytesIO()
    picture.save(file, "PNG", pnginfo=info)
    assert load_image(ImageRef("x", data=file.getvalue())).size == (2, 3)


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"abCd", b"") * 50_000),
        GIF + FRAME[:-1] + b"\1\0" * 200_000 + b"\0;",
        GIF + b"\1" * 200_000 + b";",
        GIF + FRAME * 50_000 + b";",
        b"\xff\xd8" + b"\xff\xe1\0\2" * 100_000,
        b"\xff\xd8" + b"\xff" * 100_000,
    ],
    ids=["chunks", "sub-blocks", "no blocks", "frames", "segments", "fill bytes"],
)
def test_a_file_of_next_to_nothing_but_parts_is_refused(data: bytes) -> None:
    assert "parts" in refused(data)


def test_frames_are_counted_no_further_than_the_limit() -> None:
    assert load_image(ImageRef("x", data=GIF + FRAME * 1000 + b";")).size == (1, 1)
    assert "1,000 frames" in refused(GIF + FRAME * 1001 + b";")


def test_pictures_with_as_many_parts_as_encoders_write_are_read() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    for kind, options in (("PNG", {}), ("JPEG", {"progressive": True}), ("GIF", {})):
        file = BytesIO()
        Image.fromarray(noise).save(file, kind, **options)
        assert load_image(ImageRef("x", data=file.getvalue())).size == (300, 300)
    assert PARTS >= 4 * 1000  # an animation's frame has a control block, a header and data
    assert BYTES_PER_PART < 8192  # what libpng puts into a chunk


def test_a_jpeg_of_many_scans_is_refused() -> None:
    plain = jpeg(progressive=True)
    assert load_image(ImageRef("x", data=plain)).size == (64, 64)
    last = plain.rindex(b"\xff\xda")
    scan = plain[last : plain.rindex(b"\xff\xd9")]
    bomb = plain[:last] + scan * SCANS + plain[last:]
    assert "scans" in refused(bomb)
    assert load_image(ImageRef("x", data=plain[:last] + scan * (SCANS // 2) + plain[last:])).size == (64, 64)


def test_markers_inside_a_comment_hide_no_scans() -> None:
    plain = jpeg(progressive=True)
    last = plain.rindex(b"\xff\xda")
    scan = plain[last : plain.rindex(b"\xff\xd9")]
    comment = b"\xff\xfe\0\4\xff\xd9"
    assert "scans" in refused(plain[:last] + comment + scan * SCANS + plain[last:])


# --- tags ------------------------------------------------------------------------------------------------------------


def tags(count: int, *, orientation: int = 6) -> bytes:
    """A TIFF's directory of `count` tags beside those that it needs, all of which point to all of its bytes."""
    needed = {256: (4, 1, 4), 257: (4, 1, 4), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)}
    needed |= {274: (3, 1, orientation), 277: (3, 1, 1), 278: (4, 1, 4), 279: (4, 1, 16)}
    size = 8 + 2 + 12 * (count + len(needed)) + 4
    entries = needed | dict.fromkeys(range(1000, 1000 + count), (7, size - 16, 8))
    body = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


def segments(*parts: bytes) -> bytes:
    """A JPEG with EXIF segments."""
    plain = jpeg(progressive=False, side=8)
    made = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts]
    return plain[:2] + b"".join(made) + plain[2:]


def webp(exif: bytes) -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "WEBP", exif=exif)
    return file.getvalue()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each tag that Pillow looks up took."""
    found: list[int] = []
    real = ImageFile._safe_read

    def counted(file: Any, size: int) -> bytes:
        found.append(size)
        data: bytes = real(file, size)
        return data

    monkeypatch.setattr(ImageFile, "_safe_read", counted)
    return found


def test_tags_of_a_tiff_that_all_point_to_the_same_bytes_are_not_followed(read: list[int]) -> None:
    assert load_image(ImageRef("x", data=tags(0))).size == (4, 4)
    bomb = tags(3000)
    assert "again and again" in refused(bomb)
    assert sum(read) < 5 * READS * len(bomb) + 10 * 2**16


@pytest.mark.parametrize(
    "made",
    [
        lambda exif: segments(exif),
        lambda exif: png(chunk(b"eXIf", exif)),
        lambda exif: png(
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n1\n" + exif.hex().encode()))
        ),
        webp,
    ],
    ids=["JPEG", "PNG", "PNG's text", "WebP"],
)
def test_nor_are_those_of_exif_data_which_then_turn_nothing(made: Callable[[bytes], bytes], read: list[int]) -> None:
    assert _orientation(Image.open(BytesIO(made(tags(0))))) == 6
    bomb = tags(3000)
    assert load_image(ImageRef("x", data=made(bomb))).width in (4, 8)
    assert sum(read) < 5 * READS * len(bomb) + 10 * 2**16


def test_exif_segments_after_the_first_are_left_out() -> None:
    data = segments(tags(0), *[bytes(250)] * 1000)
    assert len(without_ballast("JPEG", data)) == len(segments())
    assert exif_of_jpeg(data) == b"Exif\0\0" + tags(0)
    assert exif_of_jpeg(segments()) is None
    assert load_image(ImageRef("x", data=data)).size == (8, 8)


def test_no_marker_hides_segments() -> None:
    plain = segments()
    for marker in (b"\xff\xc8\xff\xff", b"\xff\xf0\xff\xff", b"\xff\xfd\xff\xff"):
        assert "reserved marker" in refused(plain[:2] + marker + segments(*[bytes(250)] * 9)[2:])
    early_end = plain[:2] + b"\xff\xd9" + segments(*[bytes(250)] * 9)[2:]
    assert len(without_ballast("JPEG", early_end)) == len(plain) + 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_file_cut_anywhere_is_an_error_or_a_picture_and_nothing_else(kind: str) -> None:
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, kind)
    data = file.getvalue()
    for end in range(1, len(data)):
        with suppress(ImageError):
            load_image(ImageRef("x", data=data[:end]))
