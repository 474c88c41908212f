"""Looking at pictures before they are trained on: can each be shown, and which are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from visiglot.errors import ImageError
from visiglot.images import in_memory, load_image
from visiglot.types import ImageRef

KEPT = 2**17
"""Pictures whose looks are remembered, as many as COCO has: captions of one picture needn't be neighbours."""

THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to see in a picture.

    Args:
        place: 64 bits of its path, or of its bytes where it has none.
        content: 64 bits of its bytes; 0 where they can't be read.
        error: why it can't be shown; None where it can.
    """

    place: int
    content: int
    error: ImageError | None = None


class Looker:
    """Decodes pictures, several at a time, each once as long as it is remembered. A context manager."""

    def __init__(self) -> None:
        self._looks: dict[int, Look] = {}
        self._pool = ThreadPoolExecutor(THREADS, "visiglot-pictures")

    def __enter__(self) -> Looker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def look(self, refs: Sequence[ImageRef]) -> list[Look]:
        """What each picture shows, in their order."""
        places = [_place(ref) for ref in refs]
        fresh = {place: ref for place, ref in zip(places, refs, strict=True) if place not in self._looks}
        found = dict(zip(fresh, self._pool.map(_look, fresh, fresh.values()), strict=True))
        looks = [found.get(place) or self._looks[place] for place in places]
        self._looks |= found
        while len(self._looks) > KEPT:
            del self._looks[next(iter(self._looks))]
        return looks


def _look(place: int, ref: ImageRef) -> Look:
    content = 0
    try:
        held = in_memory(ref)
        assert held.data is not None
        content = _bits(held.data)
        load_image(held)
    except ImageError as error:  # made anew: this one holds the picture's bytes by its traceback
        return Look(place, content, ImageError(error.message, hint=error.hint, reason=error.reason))
    return Look(place, content)


def _place(ref: ImageRef) -> int:
    return _bits(os.fsencode(ref.path) if ref.path is not None else ref.read())


def _bits(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
