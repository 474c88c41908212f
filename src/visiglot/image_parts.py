"""What a picture's file is made of: its chunks, segments or blocks, walked without looking into them."""

from __future__ import annotations

import re
from collections.abc import Iterator

PARTS, BYTES_PER_PART = 5000, 256
"""Parts (PNG's chunks, JPEG's segments, GIF's blocks) that a file may have, and the bytes for each of which it may have
one more. Pillow walks them one by one, so a file of nothing else would take it seconds."""

KEPT_TEXT = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keywords of PNG's text chunks that are read, for they may say which side is up, each once. Any other is left out:
a thousand times as long once it is unpacked, it is nothing that is shown."""

SCANS = 100
"""Scans that a progressive JPEG may have: each goes over the whole picture, and may have next to no bytes. Encoders
write about ten."""

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a JPEG's coded data: any marker but those that only restart it."""

_FRAME = b","
"""What a frame of a GIF begins with."""


def without_ballast(kind: str, data: bytes) -> bytes:
    """A file without what only costs time.

    Args:
        kind: Pillow's name of its format.

    Raises:
        ValueError: it has more parts than a picture has.
    """
    if kind == "JPEG":
        scans = sum(marker == _SCAN for marker, _, _ in _count(_jpeg_segments(data), len(data)))
        if scans > SCANS:
            raise ValueError(f"{scans:,} scans")
    if kind == "GIF":
        _count(_gif_blocks(data), len(data))
    if kind != "PNG":
        return data
    kept: list[tuple[int, int]] = [(0, 8)]
    seen: set[bytes] = set()
    for name, start, end in _count(_png_chunks(data), len(data)):
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = data[start + 8 : start + 88].partition(b"\0")[0]
            if keyword in seen or keyword not in KEPT_TEXT:
                continue
            seen.add(keyword)
        if kept[-1][1] == start:
            kept[-1] = (kept[-1][0], end)
        else:
            kept.append((start, end))
    return data if len(kept) == 1 else b"".join(data[start:end] for start, end in kept)


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
    start = 2
    while start + 4 <= len(data):
        marker = data[start : start + 2]
        if marker == _END:
            return
        bare = marker[0] != 0xFF or marker[1] in (0, 0xFF) or 0xD0 <= marker[1] <= 0xD8
        end = start + (1 if bare else 2 + max(int.from_bytes(data[start + 2 : start + 4]), 2))
        if marker == _SCAN:
            found = _MARKER.search(data, end)
            end = found.start() if found else len(data)
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
