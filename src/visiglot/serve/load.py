"""How much the HTTP side holds at a time. Used by one event loop only.

Where there are several keys, none takes all places: beside another request of its own, it may hold no more requests and
no more bytes than are still free for the others (dynamic thresholds; Choudhury and Hahne, 1998, with alpha 1). One that
fills the server gets half of it, two get a third each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from visiglot.serve.errors import busy
from visiglot.serve.limits import Limits


class Load:
    """Requests that are worked on, and the bytes that they hold.

    Args:
        shared: whether each caller has a share.
    """

    def __init__(self, limits: Limits, *, shared: bool = False) -> None:
        self._limits = limits
        self._shared = shared
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @property
    def requests(self) -> int:
        return self._requests.total()

    @property
    def held_bytes(self) -> int:
        return self._bytes.total()

    @contextmanager
    def admitted(self, caller: str) -> Iterator[Held]:
        """Work on a request of `caller`. Raises ApiError: 429; too many are worked on."""
        free = self._limits.requests - self.requests - 1
        if free < 0:
            raise busy(f"{self.requests} requests are worked on, which is as many as this server takes at a time.")
        if self._shared and free <= self._requests[caller] > 0:
            raise busy(f"{self._requests[caller]} requests of this key are worked on; the rest is for other keys.")
        held = Held(self, caller)
        self._requests[caller] += 1
        try:
            yield held
        finally:
            self._requests -= Counter({caller: 1})
            self._bytes -= Counter({caller: held.count})  # these keep no callers of whom nothing is left

    def hold(self, caller: str, count: int) -> None:
        """Hold `count` bytes more for `caller`. Raises ApiError: 429; all requests would hold too much, or its own."""
        free = self._limits.held_bytes - self.held_bytes - count
        if count > 0 and free < 0:
            raise busy("The requests that are worked on hold as many bytes as this server takes at a time.")
        if count > 0 and self._shared and self._requests[caller] > 1 and free < self._bytes[caller] + count:
            raise busy("The requests of this key hold as many bytes as it may; the rest is for other keys.")
        self._bytes[caller] += count


class Held:
    """The bytes of one request's body and fetched pictures."""

    def __init__(self, load: Load, caller: str) -> None:
        self._load = load
        self._caller = caller
        self.count = 0

    def add(self, count: int) -> None:
        """Hold `count` more; a negative one gives back. Raises ApiError: see `Load.hold`."""
        self._load.hold(self._caller, count)
        self.count += count
