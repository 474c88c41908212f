"""From the model's thread to the event loops of those who asked, and what they are told when there is no answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from visiglot.errors import ServeError
from visiglot.serve.asks import Piece
from visiglot.serve.job import Job

log = logging.getLogger(__name__)


def deliver(out: Sequence[tuple[Job, Piece | Exception]]) -> None:
    """Each to its channel, waking each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Piece | Exception]]] = {}
    for job, found in out:
        by_loop.setdefault(job.loop, []).append((job, found))
    for loop, found_here in by_loop.items():
        try:
            loop.call_soon_threadsafe(_put, found_here)
        except RuntimeError:  # the loop is closed, so nobody listens
            log.warning("%d answers had no one to go to", len(found_here))


def _put(out: Sequence[tuple[Job, Piece | Exception]]) -> None:
    for job, found in out:
        job.channel.put_nowait(found)


def closing() -> ServeError:
    """The engine was told to end."""
    return ServeError("the server is closing", hint="Ask another one, or this one when it is back.")


def broken() -> ServeError:
    """The engine had to end."""
    return ServeError("the model failed and can't go on", hint="The server must be started anew; its log says more.")
