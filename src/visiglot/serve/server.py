"""Listening: a socket that is bound before a model is loaded, and a server that ends when it is told to, in order."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from visiglot.errors import ServeError
from visiglot.serve.connection import CHECK_SECONDS, Connection

TICKS = 10
"""Of uvicorn's, a second."""

LAST_SECONDS = 5
"""For requests to be told that the server ends."""


def bind(host: str, port: int) -> socket.socket:
    """A socket on which nobody is answered yet.

    Raises:
        ServeError: the address can't be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ServeError(
            f"{host}, port {port}: can't be listened on: {error.strerror or error}",
            hint="Name another --port or --host, or end what listens there.",
        ) from error
    return bound


class Server(uvicorn.Server):
    """A server of one application.

    Args:
        bound: from `bind`.
        shutdown_seconds: that requests have to come to their end once the server is told to stop.
        started: called when requests are answered.
        overdue: called in a thread when that time is over; it ends all answers, so that each gets a last word.
    """

    def __init__(
        self,
        app: FastAPI,
        bound: socket.socket,
        *,
        shutdown_seconds: float,
        started: Callable[[], None] = lambda: None,
        overdue: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=max(round(shutdown_seconds), 1) + LAST_SECONDS,
            )
        )
        self._bound = bound
        self._tell = started
        self._shutdown_seconds = shutdown_seconds
        self._overdue = overdue

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()

    async def on_tick(self, counter: int) -> bool:
        if not counter % (TICKS * CHECK_SECONDS):
            for connection in list(self.server_state.connections):
                assert isinstance(connection, Connection)
                connection.check()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._shutdown_seconds, loop.run_in_executor, None, self._overdue)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    def serve_until_told(self) -> None:
        """Serve until SIGINT or SIGTERM, which both mean to stop in order; a second SIGINT stops at once."""
        before = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.run(sockets=[self._bound])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end(number: int, frame: object) -> None:
    """What uvicorn finds in place of a handler of its own, and calls when it has stopped."""
