"""What a picture's file is made of: its chunks, segments or blocks, walked without looking into them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BytesIO

PARTS, BYTES_PER_PART = 5000, 256
"""Parts (PNG's chunks, JPEG's segments, GIF's blocks) that a file may have, and the bytes for each of which it may have
one more. Pillow walks them one by one, so a file of nothing else would take it seconds."""

KEPT_TEXT = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keywords of PNG's text chunks that are read, for they may say which side is up, each once. Any other is left out:
a thousand times as long once it is unpacked, it is nothing that is shown."""

SCANS = 30
"""Scans that a progressive JPEG may have: each goes over the whole picture, and may have next to no bytes. Encoders
write about ten."""

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a JPEG's coded data: any marker but those that only restart it."""

_EXIF, _EXIF_HEAD = b"\xff\xe1", b"Exif\0\0"
"""A JPEG's segment of EXIF data, and what its data begins with. All but the first are put behind each other by Pillow,
each time anew."""

_RESERVED = frozenset({0xC8, *range(0xF0, 0xFE)})
"""Markers that nobody writes, and of which Pillow doesn't know that a length follows."""

READS = 4
"""How often a file may be read over, as its tags ask for it."""

_FRAME = b","
"""What a frame of a GIF begins with."""


class Frugal(BytesIO):
    """A file that is read over a few times at most: tags of TIFF and EXIF may all point to the same bytes, and some
    thousands of them, which take next to no room, to all that there are.

    `left` are the bytes that may be read yet; None: any number.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.left: int | None = READS * len(data) + 2**16

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if self.left is not None:
            self.left -= len(found)
            if self.left < 0:
                raise ValueError("its tags point to the same bytes again and again")
        return found


def without_ballast(kind: str, data: bytes) -> bytes:
    """A file without what only costs time.

    Args:
        kind: Pillow's name of its format.

    Raises:
        ValueError: it has more parts than a picture has.
    """
    if kind == "JPEG":
        parts = _count(_jpeg_segments(data), len(data))
        scans = sum(marker == _SCAN for marker, _, _ in parts)
        if scans > SCANS:
            raise ValueError(f"{scans:,} scans")
        return _without(data, ((start, end) for _, start, end in parts if _is_exif(data, start)))
    if kind == "GIF":
        _count(_gif_blocks(data), len(data))
    if kind != "PNG":
        return data
    left_out: list[tuple[int, int]] = []
    seen: set[bytes] = set()
    for name, start, end in _count(_png_chunks(data), len(data)):
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = data[start + 8 : start + 88].partition(b"\0")[0]
            if keyword in seen or keyword not in KEPT_TEXT:
                left_out.append((start, end))
            seen.add(keyword)
    return _without(data, left_out)


def exif_of_jpeg(data: bytes) -> bytes | None:
    """A JPEG's first EXIF segment, which `without_ballast` leaves out; None when there is none before its pixels."""
    for marker, start, end in _jpeg_segments(data):
        if marker == _SCAN:
            break
        if _is_exif(data, start):
            return data[start + 4 : end]
    return None


def _is_exif(data: bytes, start: int) -> bool:
    return data[start : start + 2] == _EXIF and data[start + 4 : start + 10] == _EXIF_HEAD


def _without(data: bytes, left_out: Iterable[tuple[int, int]]) -> bytes:
    """`data` less some parts, in their order."""
    kept, place = [], 0
    for start, end in left_out:
        kept.append(data[place:start])
        place = end
    return b"".join([*kept, data[place:]]) if kept else data


def has_more_gif_frames(data: bytes, limit: int) -> bool:
    """Whether a GIF has more than `limit` frames; they are followed no further."""
    frames = 0
    for kind, _, _ in _gif_blocks(data):
        frames += kind == _FRAME
        if frames > limit:
            return True
    return False


def _count(parts: Iterator[tuple[bytes, int, int]], size: int) -> list[tuple[bytes, int, int]]:
    """The parts of a file of `size` bytes. Raises ValueError: there are too many."""
    found = []
    for part in parts:
        found.append(part)
        if len(found) > PARTS + size // BYTES_PER_PART:
            raise ValueError(f"more than {len(found) - 1:,} parts in {size:,} bytes")
    return found


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk (PNG, section 5.3), the last of which may be cut off."""
    start = 8
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        yield data[start + 4 : start + 8], start, min(end, len(data))
        start = end


def _jpeg_segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Marker, start and end of each segment, a scan's coded data included (ITU T.81, B.1.1)."""
    start, scanned = 2, False
    while start + 4 <= len(data):
        marker = data[start : start + 2]
        if marker == _END and scanned:
            return
        if marker[0] == 0xFF and marker[1] in _RESERVED:
            raise ValueError(f"the reserved marker {marker.hex()}")
        bare = marker[0] != 0xFF or marker[1] in (0, 0xFF) or 0xD0 <= marker[1] <= 0xD9
        end = start + (1 if bare else 2 + max(int.from_bytes(data[start + 2 : start + 4]), 2))
        if marker == _SCAN:
            found = _MARKER.search(data, end)
            end = found.start() if found else len(data)
            scanned = True
        yield marker, start, end
        start = end


def _gif_blocks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """First byte, start and end of each block and sub-block (GIF89a, appendix A)."""
    place = 13 + _colours(data[10:11])
    while place < len(data):
        kind, start = data[place : place + 1], place
        if kind == b";":
            return
        if kind == _FRAME:
            place += 11 + _colours(data[place + 9 : place + 10])
        elif kind == b"!":
            place += 2
        else:
            place += 1  # as readers do, who look on for the next block
            yield kind, start, place
            continue
        yield kind, start, place
        while place < len(data) and data[place]:
            end = place + 1 + data[place]
            yield b"", place, end
            place = end
        place += 1


def _colours(flags: bytes) -> int:
    """Bytes of a GIF's colour table."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
