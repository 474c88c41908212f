"""Reading pictures: every kind that is read right, and every kind of bad file. The pictures are drawn here."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from visiglot import images
from visiglot.errors import ImageError
from visiglot.images import load_image
from visiglot.types import ImageRef

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ref(data: bytes, name: str = "picture-7") -> ImageRef:
    return ImageRef(name, data=data)


def noise(width: int = 64, height: int = 48) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def close(pixel: object, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=True))


# --- read right ------------------------------------------------------------------------------------------------------


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


# --- refused ---------------------------------------------------------------------------------------------------------


def refused(picture: ImageRef, **limits: int) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(picture, **limits)
    assert picture.name in caught.value.message
    assert caught.value.hint, "an error says what to do"
    return caught.value.message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_half_a_file_is_no_picture(kind: str, share: float) -> None:
    data = encoded(noise(), kind)
    message = refused(ref(data[: int(len(data) * share)]))
    assert "broken" in message
    assert kind in message


def test_a_bomb_is_refused_by_its_header() -> None:
    data = png(100_000, 100_000, depth=8, colour=2, rows=b"")
    assert "100000 x 100000 pixels" in refused(ref(data))


def test_the_limit_of_pixels_is_the_callers() -> None:
    data = encoded(noise(64, 48), "PNG")
    assert load_image(ref(data), max_pixels=64 * 48).size == (64, 48)
    assert "64 x 48" in refused(ref(data), max_pixels=64 * 48 - 1)


def test_the_global_limit_of_pillow_is_neither_used_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert load_image(ref(encoded(noise(), "PNG"))).size == (64, 48)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    data = encoded(noise(), "PNG")
    path = tmp_path / "big.png"
    path.write_bytes(data)
    for picture in (ref(data), ImageRef("big", path=path)):
        assert f"{len(data):,} bytes" in refused(picture, max_bytes=len(data) - 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_too_many_frames_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("RGB", (4, 4), (40 * i, 0, 0)) for i in range(6)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(images, "MAX_FRAMES", 6)
    assert load_image(ref(data)).size == (4, 4)
    monkeypatch.setattr(images, "MAX_FRAMES", 5)
    assert "6 frames, the limit is 5" in refused(ref(data))


def test_text_that_is_called_a_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_text("<html>404 not found</html>")
    assert "<html>404 no" in refused(ImageRef("page.png", path=path))


def test_kinds_that_are_not_on_the_list_are_refused() -> None:
    assert "no picture format" in refused(ref(encoded(Image.new("RGB", (4, 4)), "PPM")))
    assert "no picture format" in refused(ref(encoded(Image.new("RGB", (16, 16)), "ICO")))


def test_thirty_two_bit_samples_are_refused() -> None:
    image = Image.fromarray(np.zeros((2, 2), dtype=np.float32))
    assert "32-bit" in refused(ref(encoded(image, "TIFF")))


def test_missing_empty_and_odd_files_are_refused(tmp_path: Path) -> None:
    assert "there is no file" in refused(ImageRef("gone", path=tmp_path / "gone.png"))
    assert "is not a file" in refused(ImageRef("folder", path=tmp_path))
    assert "empty" in refused(ref(b""))
    assert "is not a file" in refused(ImageRef("endless", path=Path("/dev/zero")))


def test_a_pillow_that_was_told_to_accept_halves_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "truncated" in refused(ref(encoded(noise(), "PNG")))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_are_an_image_error_or_a_whole_picture() -> None:
    """No other exception leaves the loader, whatever byte is flipped."""
    random = np.random.default_rng(0)
    refusals = 0
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        data = encoded(noise(16, 12), kind)
        for _ in range(60):
            damaged = bytearray(data)
            for place in random.integers(0, min(len(data), 300), 3):
                damaged[place] = int(random.integers(256))
            try:
                assert load_image(ref(bytes(damaged)), max_pixels=1_000_000).mode == "RGB"
            except ImageError:
                refusals += 1
    assert refusals > 60
