"""One chat request over HTTP, from its body to the last byte of its answer.

    body --parse--> ChatRequest --media--> pictures --chat--> choices --engine--> pieces --reply--> JSON or events

Whoever hangs up is not answered: the work is cancelled, and the engine frees the rows at once. Nothing is sent before
the first piece is there, so whatever is wrong by then has a status of its own; what goes wrong in a stream ends it with
an event that says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.responses import Response

from visiglot.errors import VisiglotError
from visiglot.serve.access import Access
from visiglot.serve.asks import Ask, EngineStats, Piece
from visiglot.serve.chat import Choice, Served, choices_of
from visiglot.serve.errors import ApiError, api_error, failed, timed_out
from visiglot.serve.limits import Limits
from visiglot.serve.load import Held, Load
from visiglot.serve.media import Media
from visiglot.serve.metrics import Metrics
from visiglot.serve.reply import DONE, Reply, event
from visiglot.serve.schema import ChatRequest, parse_request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

GONE = 499
"""Status, in metrics and log, of a request that its client left (nginx's)."""

log = logging.getLogger(__name__)


class Answers(Protocol):
    """What the HTTP side needs of `visiglot.serve.engine.Engine`."""

    def start(self) -> None: ...

    def close(self) -> None: ...

    @property
    def alive(self) -> bool: ...

    def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]: ...

    def stats(self) -> EngineStats: ...


@dataclass(frozen=True)
class Service:
    """Everything that requests share.

    Args:
        pool: threads for what would keep the event loop waiting.
    """

    engine: Answers
    served: Served
    access: Access
    limits: Limits
    media: Media
    load: Load
    metrics: Metrics
    pool: Executor


class Exchange(Response):
    """The response to a chat request, which reads the request itself.

    Args:
        caller: who asks.
    """

    def __init__(self, service: Service, caller: str) -> None:
        super().__init__()
        self._service = service
        self._caller = caller
        self._begun = False
        self._start = time.monotonic()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Raises ApiError: whatever is wrong before the answer begins."""
        with self._service.load.admitted(self._caller) as held:
            body = await read_body(Headers(scope=scope), receive, self._service.limits, held)
            work = asyncio.create_task(self._answer([body], held, send))
            del body
            gone = asyncio.create_task(_hung_up(receive))
            try:
                await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
                left = not work.done()
            finally:
                work.cancel()
                gone.cancel()
                await asyncio.wait((work, gone))
            if left:
                scope["visiglot_status"] = GONE
            elif not work.cancelled() and (error := work.exception()) is not None:
                raise error

    async def _answer(self, body: list[bytes], held: Held, send: Send) -> None:
        """`body` is taken out of its list, so that nobody holds it while the answer is made."""
        seconds = self._service.limits.request_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._work(body, held, send)
        except (ApiError, VisiglotError, TimeoutError) as error:
            told = self._told(error, seconds)
            if not self._begun:
                raise told from None
            await _end(send, event(told.body()))
        except Exception as error:
            if not self._begun:
                raise
            log.error("a stream failed", exc_info=error)
            await _end(send, event(failed().body()))

    def _told(self, error: ApiError | VisiglotError | TimeoutError, seconds: float) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, VisiglotError):
            return api_error(error, closing=not self._service.engine.alive)
        return timed_out(seconds)

    async def _work(self, body: list[bytes], held: Held, send: Send) -> None:
        service = self._service
        loop = asyncio.get_running_loop()
        request = await loop.run_in_executor(service.pool, parse_request, body.pop())
        pictures = await service.media.pictures(request, held)
        caller = self._caller
        if request.user and not service.access.several_keys:
            caller = f"{caller} {request.user}"
        choices = await loop.run_in_executor(
            service.pool, choices_of, request, pictures, service.served, service.limits, caller
        )
        request = request.model_copy(update={"messages": []})  # pictures are long texts there, and bytes by now
        reply = Reply(request.model, choices)
        async with aclosing(_pieces(service.engine, choices)) as pieces:
            if request.stream:
                await self._stream(request, reply, pieces, send)
            else:
                async for index, piece in self._timed(pieces):
                    reply.add(index, piece)
                answer = await loop.run_in_executor(service.pool, reply.whole_json)
                self._begun = True
                await _start(send, "application/json")
                await _end(send, answer)
        service.metrics.answered(time.monotonic() - self._start)

    async def _stream(
        self, request: ChatRequest, reply: Reply, pieces: AsyncIterator[tuple[int, Piece]], send: Send
    ) -> None:
        usage = request.stream_options is not None and request.stream_options.include_usage
        async for index, piece in self._timed(pieces):
            if not self._begun:
                self._begun = True
                await _start(send, "text/event-stream; charset=utf-8")
            reply.add(index, piece)
            await _send(send, reply.chunk(index, piece, usage=usage))
        await _end(send, (reply.last_chunk() if usage else b"") + DONE)

    async def _timed(self, pieces: AsyncIterator[tuple[int, Piece]]) -> AsyncIterator[tuple[int, Piece]]:
        first = True
        async for found in pieces:
            if first:
                self._service.metrics.first_piece(time.monotonic() - self._start)
                first = False
            yield found


async def _pieces(engine: Answers, choices: Sequence[Choice]) -> AsyncGenerator[tuple[int, Piece], None]:
    """The pieces of all choices, with the choice's index, as they come. Leaving it cancels all of them."""
    channel: asyncio.Queue[tuple[int, Piece] | Exception] = asyncio.Queue()

    async def listen(index: int, ask: Ask) -> None:
        try:
            async with aclosing(engine.stream(ask)) as stream:
                async for piece in stream:
                    channel.put_nowait((index, piece))
        except Exception as error:
            channel.put_nowait(error)

    tasks = [asyncio.create_task(listen(index, choice.ask)) for index, choice in enumerate(choices)]
    open_choices = len(tasks)
    try:
        while open_choices:
            found = await channel.get()
            if isinstance(found, Exception):
                raise found
            yield found
            open_choices -= found[1].finish is not None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_body(headers: Headers, receive: Receive, limits: Limits, held: Held) -> bytes:
    """The body of a request.

    Raises:
        ApiError: 408 if it takes too long, 413 if it is too large, 415 if it isn't called JSON, 429 by `held`.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "The body must be JSON, and say so: `Content-Type: application/json`.", code="not_json")
    declared = headers.get("content-length", "0")
    size = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            more = size <= 2 * limits.body_bytes
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(400, "The client hung up before the body was there.", code="disconnected")
                part = message.get("body", b"")
                length += len(part)
                more = bool(message.get("more_body")) and length <= 2 * limits.body_bytes
                if max(length, size) <= limits.body_bytes:
                    held.add(len(part))
                    parts.append(part)
                else:
                    parts.clear()  # read on, so that the client gets to read the answer
    except TimeoutError:
        raise ApiError(408, f"The body didn't arrive within {limits.body_seconds:g} s.", code="timeout") from None
    if max(length, size) > limits.body_bytes:
        raise ApiError(
            413, f"The body has more than {limits.body_bytes:,} bytes, which is the limit.", code="request_too_large"
        )
    return b"".join(parts)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(send: Send, kind: str) -> None:
    headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _end(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": False})
