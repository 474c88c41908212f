"""Connections that can't be held open for nothing.

uvicorn waits for ever for a request's head, for the rest of a body that nobody reads any more, and for a client that
doesn't read its answer. Each of these has its time here; how long a body and an answer may take is the exchange's.
"""

from __future__ import annotations

import asyncio
import resource
import time

from uvicorn.protocols.http.h11_impl import H11Protocol

CHECK_SECONDS = 1
"""Between two looks at all connections."""

HEAD_SECONDS = 10.0
"""For a request's head to be there, from when the connection was made or the answer before was given."""

READ_SECONDS, READ_RATE = 20.0, 8192
"""For a client to take what is ready for it: seconds, and one more for each so many bytes."""

CONNECTIONS = 1024
"""At a time; any more is closed at once."""


def most_connections() -> int:
    """CONNECTIONS, or half of the files that the process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, files // 2)


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1; the server calls `check` from time to time."""

    _waits: tuple[str, object] | None = None
    _until = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waits = None  # the client goes on reading

    def check(self) -> None:
        """Cut the connection off if its client has let it wait for too long."""
        waits, seconds = self._waiting()
        now = time.monotonic()
        if waits != self._waits:
            self._waits, self._until = waits, now + seconds
        elif waits is not None and now >= self._until:
            self.transport.abort()

    def _waiting(self) -> tuple[tuple[str, object] | None, float]:
        """What the connection waits for its client to do, in which request, and for how many seconds it may."""
        if self.flow.write_paused or self.transport.is_closing():
            return ("read", self.cycle), READ_SECONDS + self.transport.get_write_buffer_size() / READ_RATE
        if self.cycle is None or self.cycle.response_complete:
            return ("ask", self.cycle), HEAD_SECONDS
        return None, 0.0
