"""Reading pictures: every kind that is read right. The pictures are drawn here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.encoded import chunk, encoded, noise, png, ref

from visiglot.images import load_image
from visiglot.types import ImageRef

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def close(pixel: object, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_kinds_give_back_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = load_image(ref(encoded(noise(), kind, **options)))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(noise()))


def test_a_file_is_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(), "PNG"))
    assert load_image(ImageRef("a", path=path)).size == (64, 48)


def test_the_bytes_tell_the_kind_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-gif.jpg"
    path.write_bytes(encoded(Image.new("RGB", (8, 8), RED), "GIF"))
    assert load_image(ImageRef("a", path=path)).getpixel((0, 0)) == RED


def test_only_the_first_frame_is_shown() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert close(load_image(ref(data)).getpixel((4, 4)), RED), kind


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    image = load_image(ref(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)))
    assert image.mode == "RGB"
    assert close(image.getpixel((8, 8)), RED)


CMYK = [(255, 0, 0, 0), (0, 0, 0, 128), (100, 30, 200, 60)]


def seen(cmyk: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """What inks in 0..255 leave of white light."""
    cyan, magenta, yellow, black = cmyk
    red, green, blue = (round((255 - ink) * (255 - black) / 255) for ink in (cyan, magenta, yellow))
    return red, green, blue


def as_adobe_ycck(cmyk: tuple[int, int, int, int]) -> bytes:
    """A JPEG as Photoshop writes it: inverted inks, the first three as YCbCr (Adobe's transform 2)."""
    red, green, blue = cmyk[:3]  # of the inverted inks
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    first = (luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402)
    in_file = [min(255, max(0, round(value))) for value in first] + [255 - cmyk[3]]
    inverted = tuple(255 - value for value in in_file)  # Pillow inverts what it writes
    data = bytearray(encoded(Image.new("CMYK", (16, 16), inverted), "JPEG", quality=95))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    return bytes(data)


@pytest.mark.parametrize("cmyk", CMYK)
def test_inks_become_the_colour_that_they_print(cmyk: tuple[int, int, int, int]) -> None:
    flat = Image.new("CMYK", (16, 16), cmyk)
    adobe = encoded(flat, "JPEG", quality=95)
    assert b"Adobe" in adobe
    files = [adobe, as_adobe_ycck(cmyk), encoded(flat, "TIFF"), encoded(flat, "TIFF", compression="tiff_lzw")]
    for data in files:
        assert close(load_image(ref(data)).getpixel((8, 8)), seen(cmyk), 2)


def tiff(width: int, bits: int, photometric: int, samples: bytes) -> bytes:
    """One row of grey, uncompressed; photometric 0 says that 0 is white."""
    offset = 8 + 2 + 9 * 12 + 4
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, offset), (277, 1), (278, 1)]
    tags.append((279, len(samples)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + samples


def grey_row(data: bytes) -> list[int]:
    pixels = np.asarray(load_image(ref(data)))[0]
    assert (pixels == pixels[:, :1]).all()
    return [int(value) for value in pixels[:, 0]]


def test_a_grey_tiff_may_call_zero_white_or_have_twelve_bits() -> None:
    samples = struct.pack("<4H", 0, 257, 32768, 65535)
    assert grey_row(tiff(4, 16, 1, samples)) == [0, 1, 128, 255]
    assert grey_row(tiff(4, 16, 0, samples)) == [255, 254, 127, 0]
    assert grey_row(tiff(2, 12, 1, bytes([0xFF, 0xF8, 0x00]))) == [255, 128]


def test_sixteen_bits_of_colour_keep_the_upper_eight() -> None:
    rows = b"\0" + struct.pack(">6H", 65535, 0, 32768, 256, 65535, 255)
    image = load_image(ref(png(2, 1, depth=16, colour=2, rows=rows)))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 128), (1, 255, 0)]
    clear = b"\0" + struct.pack(">8H", 65535, 0, 0, 0, 0, 0, 65535, 65535)
    image = load_image(ref(png(2, 1, depth=16, colour=6, rows=clear)))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [WHITE, (0, 0, 255)]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    rows = b"\0" + values.astype(">u2").tobytes()
    from_png = load_image(ref(png(4, 1, depth=16, colour=0, rows=rows)))
    from_tiff = load_image(ref(encoded(Image.fromarray(values), "TIFF")))
    for image in (from_png, from_tiff):
        assert [image.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 1, 128, 255)]


def test_the_transparent_value_of_sixteen_bit_grey_becomes_white() -> None:
    rows = b"\0" + struct.pack(">HH", 1000, 1001)
    data = png(2, 1, depth=16, colour=0, rows=rows, extra=chunk(b"tRNS", struct.pack(">H", 1000)))
    image = load_image(ref(data))
    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((1, 0)) == (4, 4, 4)


def test_the_transparent_value_is_the_one_of_the_file_at_any_depth() -> None:
    """Pillow scales samples of 2, 4 and 3 x 16 bits to 8, and leaves the value as it is."""

    def row(depth: int, colour: int, samples: bytes, value: bytes, width: int) -> list[object]:
        data = png(width, 1, depth=depth, colour=colour, rows=b"\0" + samples, extra=chunk(b"tRNS", value))
        image = load_image(ref(data))
        return [image.getpixel((x, 0)) for x in range(width)]

    def grey(value: int) -> tuple[int, int, int]:
        return value, value, value

    assert row(2, 0, bytes([0b11100100]), b"\0\1", 4) == [WHITE, grey(170), WHITE, grey(0)]
    assert row(4, 0, bytes([0x5A]), b"\0\5", 2) == [WHITE, grey(170)]
    assert row(8, 0, bytes([7, 8]), b"\0\7", 2) == [WHITE, grey(8)]
    assert row(8, 2, bytes([7, 8, 9, 7, 8, 10]), struct.pack(">3H", 7, 8, 9), 2) == [WHITE, (7, 8, 10)]
    deep = struct.pack(">6H", 1000, 2000, 3000, 9000, 2000, 3000)
    assert row(16, 2, deep, struct.pack(">3H", 1000, 2000, 3000), 2) == [WHITE, (35, 7, 11)]


def test_each_colour_of_a_palette_may_have_its_own_alpha() -> None:
    palette = chunk(b"PLTE", bytes([*RED, *GREEN, 0, 0, 255])) + chunk(b"tRNS", bytes([0, 128]))
    image = load_image(ref(png(3, 1, depth=8, colour=3, rows=bytes([0, 0, 1, 2]), extra=palette)))
    assert [image.getpixel((x, 0)) for x in range(3)] == [WHITE, (127, 255, 127), (0, 0, 255)]


def test_transparency_is_laid_on_white() -> None:
    for mode, clear, half in (("RGBA", (0, 0, 0, 0), (255, 0, 0, 128)), ("LA", (0, 0), (0, 128))):
        image = Image.new(mode, (2, 1), clear)
        image.putpixel((1, 0), half)
        read = load_image(ref(encoded(image, "PNG")))
        assert read.getpixel((0, 0)) == WHITE
        assert close(read.getpixel((1, 0)), (255, 127, 127) if mode == "RGBA" else (127, 127, 127), 1)


def test_palettes_with_and_without_transparency_are_looked_up() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    plain = load_image(ref(encoded(image, "PNG")))
    assert [plain.getpixel((x, 0)) for x in (0, 1)] == [RED, GREEN]
    clear = load_image(ref(encoded(image, "PNG", transparency=0)))
    assert [clear.getpixel((x, 0)) for x in (0, 1)] == [WHITE, GREEN]


@pytest.mark.parametrize(("mode", "value"), [("L", 77), ("1", 255)])
def test_grey_and_black_and_white_become_rgb(mode: str, value: int) -> None:
    image = load_image(ref(encoded(Image.new(mode, (4, 4), value), "PNG")))
    assert image.getpixel((0, 0)) == (value, value, value)


def test_a_photo_is_turned_as_its_camera_says() -> None:
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (0, 0, 20, 20))  # green on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees: the left side comes to the top
    upright = load_image(ref(encoded(image, "JPEG", exif=exif, quality=95)))
    assert upright.size == (20, 40)
    assert close(upright.getpixel((10, 5)), GREEN)
    assert close(upright.getpixel((10, 35)), RED)


TURNED = {1: "ABCD", 2: "BADC", 3: "DCBA", 4: "CDAB", 5: "ACBD", 6: "CADB", 7: "DBCA", 8: "BDAC"}
"""EXIF orientation -> the corners of the upright picture, line by line, that the file has as A B / C D."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_all_eight_orientations_are_turned_upright_once(kind: str, orientation: int) -> None:
    colours = {"A": RED, "B": GREEN, "C": (0, 0, 255), "D": WHITE}
    image = Image.new("RGB", (40, 20))
    for name, corner in zip("ABCD", ((0, 0), (20, 0), (0, 10), (20, 10)), strict=True):
        image.paste(colours[name], (*corner, corner[0] + 20, corner[1] + 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    upright = load_image(ref(encoded(image, kind, exif=exif, **options)))
    assert upright.size == ((40, 20) if orientation <= 4 else (20, 40))
    right, bottom = upright.width - 4, upright.height - 4
    for name, corner in zip(TURNED[orientation], ((3, 3), (right, 3), (3, bottom), (right, bottom)), strict=True):
        assert close(upright.getpixel(corner), colours[name]), (name, corner)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_broken_exif_turns_nothing_and_costs_no_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(Image.new("RGB", (40, 20), RED), "JPEG", exif=exif))
    start = data.index(b"Exif\0\0") + 6
    for damaged in (b"XX*\0", b"II*\0\xff\xff\xff\x7f"):
        data[start : start + len(damaged)] = damaged
        assert load_image(ref(bytes(data))).size == (40, 20)
