"""Pictures that are refused, and that the refusal comes before anything is decoded."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin
from tests.encoded import encoded, noise, png, ref

from visiglot import images
from visiglot.errors import ImageError
from visiglot.images import in_memory, load_image
from visiglot.types import ImageRef


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


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formats of pictures that were decoded, in order."""
    kinds: list[str] = []
    for opener in dict.fromkeys(images._OPENERS.values()):

        def spy(self: ImageFile.ImageFile, load: object = opener.load) -> object:
            kinds.append(str(self.format))
            return load(self)  # type: ignore[operator]

        monkeypatch.setattr(opener, "load", spy)
    return kinds


def huge(kind: str) -> bytes:
    """A small file whose header says 16,383 x 16,383 pixels."""
    if kind == "PNG":
        return png(16383, 16383, depth=8, colour=2, rows=b"")
    data = bytearray(encoded(noise(16, 12), kind))
    if kind == "TIFF":
        for tag in (256, 257):
            at = data.index(struct.pack("<H", tag), 8)
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 16383)
    else:
        order = {"JPEG": ">HH", "GIF": "<HH", "BMP": "<II", "WEBP": "<HH"}[kind]
        place = data.index(b"\xff\xc0") + 5 if kind == "JPEG" else {"GIF": 6, "BMP": 18, "WEBP": 26}[kind]
        data[place : place + struct.calcsize(order)] = struct.pack(order, 16383, 16383)
    return bytes(data)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_pixels_are_counted_before_anything_is_decoded(kind: str, decoded: list[str]) -> None:
    assert "16383 x 16383 pixels" in refused(ref(huge(kind)))
    assert decoded == []
    load_image(ref(encoded(noise(), kind)))
    assert kind in decoded, "the spy sees decoders"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_frames_are_counted_before_anything_is_decoded(
    kind: str, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.new("RGB", (4, 4), (40 * i, 0, 0)) for i in range(6)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(images, "MAX_FRAMES", 5)
    refused(ref(data))
    assert decoded == []


def test_pages_beyond_the_limit_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIFF of a few megabytes may have hundreds of thousands, each of which takes Pillow time to find."""
    pages = [Image.new("L", (4, 4), n) for n in range(40)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    found: list[int] = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load

    def spy(self: TiffImagePlugin.ImageFileDirectory_v2, file: BytesIO) -> None:
        found.append(file.tell())
        load(self, file)

    monkeypatch.setattr(TiffImagePlugin.ImageFileDirectory_v2, "load", spy)
    monkeypatch.setattr(images, "MAX_FRAMES", 5)
    assert "more than 5 frames" in refused(ref(data))
    assert len(set(found)) == 6


def test_a_file_that_is_too_large_is_not_opened_as_a_picture(decoded: list[str]) -> None:
    refused(ref(encoded(noise(), "PNG")), max_bytes=100)
    assert decoded == []


def test_what_is_wrong_has_a_reason_of_a_word_or_three(tmp_path: Path) -> None:
    good = encoded(noise(), "PNG")
    bad = {
        "missing": ImageRef("p", path=tmp_path / "gone.png"),
        "empty": ref(b""),
        "broken": ref(good[:-200]),
        "unknown kind": ref(b"<html>"),
        "too many pixels": ref(huge("PNG")),
    }
    for reason, picture in bad.items():
        with pytest.raises(ImageError) as caught:
            load_image(picture)
        assert caught.value.reason == reason


def test_a_picture_in_memory_has_its_bytes_and_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(), "PNG"))
    assert in_memory(ImageRef("a", path=path)) == ImageRef("a", data=path.read_bytes())
    with pytest.raises(ImageError, match="no file"):
        in_memory(ImageRef("b", path=tmp_path / "b.png"))
    with pytest.raises(ImageError, match="the limit is 9"):
        in_memory(ImageRef("a", path=path), max_bytes=9)


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
    assert "more than 5 frames" in refused(ref(data))


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
