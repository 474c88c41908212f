"""How much the HTTP side holds at a time. Used by one event loop only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from visiglot.serve.errors import busy
from visiglot.serve.limits import Limits


class Load:
    """Requests that are worked on, and the bytes that they hold."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        self.held_bytes = 0

    @contextmanager
    def admitted(self) -> Iterator[Held]:
        """Work on a request. Raises ApiError: 429; too many are worked on."""
        if self.requests >= self._limits.requests:
            raise busy(f"{self.requests} requests are worked on, which is as many as this server takes at a time.")
        held = Held(self, self._limits.held_bytes)
        self.requests += 1
        try:
            yield held
        finally:
            self.requests -= 1
            self.held_bytes -= held.count


class Held:
    """The bytes of one request's body and fetched pictures."""

    def __init__(self, load: Load, limit: int) -> None:
        self._load = load
        self._limit = limit
        self.count = 0

    def add(self, count: int) -> None:
        """Hold `count` more; a negative one gives back. Raises ApiError: 429; all requests would hold too much."""
        if self._load.held_bytes + count > self._limit:
            raise busy("The requests that are worked on hold as many bytes as this server takes at a time.")
        self._load.held_bytes += count
        self.count += count
