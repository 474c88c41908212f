"""A server on loopback in a thread of the test's process, an engine that says what it is told to, and clients."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI
from tests.drawn import draw

from visiglot.errors import VisiglotError
from visiglot.serve.access import Access
from visiglot.serve.api import build_app
from visiglot.serve.asks import Ask, EngineStats, Piece
from visiglot.serve.chat import Served
from visiglot.serve.exchange import Answers
from visiglot.serve.fetch import Fetcher
from visiglot.serve.limits import Limits
from visiglot.serve.server import Server, bind
from visiglot.types import Placing

SERVED = Served("tiny", ("eng_Latn", "deu_Latn", "swh_Latn"), Placing(), "Caption in {language}: ", 1_700_000_000)
SECONDS = 30.0
"""After which something that should happen has not happened."""


@dataclass
class Stub:
    """An engine that gives the same pieces to everyone.

    Args:
        pieces: of each answer.
        error: in place of all pieces from the place `fails_at` on.
        endless: pieces never end; `cancelled` is set when the last who listened has left.
        held: answers wait until it is set.
    """

    pieces: Sequence[str] = ("a ", "small ", "dog")
    error: VisiglotError | Exception | None = None
    fails_at: int = 0
    endless: bool = False
    held: threading.Event | None = None
    asks: list[Ask] = field(default_factory=list)
    alive: bool = True
    cancelled: threading.Event = field(default_factory=threading.Event)
    listeners: int = 0

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.alive = False

    def stats(self) -> EngineStats:
        return EngineStats(running=self.listeners, finished=7)

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        self.asks.append(ask)
        self.listeners += 1
        finished = False
        try:
            while self.held is not None and not self.held.is_set():
                await asyncio.sleep(0.005)
            for place, text in enumerate(self.pieces):
                if self.error is not None and place == self.fails_at:
                    raise self.error
                last = place + 1 == len(self.pieces) and not self.endless
                yield Piece(text, "stop" if last else None, 5, place + 1)
            while self.endless:
                yield Piece("and ", None, 5, 9)
                await asyncio.sleep(0.005)
            finished = True
        finally:
            self.listeners -= 1
            if not finished and not self.listeners:
                self.cancelled.set()


@dataclass(frozen=True)
class Running:
    """A server that answers at `port`."""

    port: int

    def client(self, key: str = "none", **options: Any) -> OpenAI:
        return OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=key, max_retries=0, **options)

    def ask(
        self, body: Any = None, *, method: str = "POST", path: str = "/v1/chat/completions", **headers: str
    ) -> Reply:
        """One request without a client of OpenAI's; `body` is JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, data, {"Content-Type": "application/json", **named})
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def chat(self, *messages: dict[str, Any], **parameters: Any) -> Reply:
        return self.ask({"model": "tiny", "messages": list(messages) or [user("hello")], **parameters})


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """Of OpenAI's shape."""
        (name, error), *others = self.json.items()
        assert (name, others) == ("error", [])
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        found: dict[str, Any] = error
        return found

    @property
    def events(self) -> list[str]:
        return [line.removeprefix("data: ") for line in self.body.decode().split("\n\n") if line]


@contextmanager
def serving(
    engine: Answers | None = None,
    *,
    keys: Sequence[str] = (),
    served: Served = SERVED,
    fetcher: Fetcher | None = None,
    port: int = 0,
    **limits: Any,
) -> Iterator[Running]:
    """A server until the end of the block, whose engine is closed with it."""
    access = Access("127.0.0.1", keys)
    app = build_app(engine or Stub(), served, access, limits=Limits(**limits), fetcher=fetcher)
    ready = threading.Event()
    with bind("127.0.0.1", port) as bound:
        server = Server(app, bound, shutdown_seconds=1, started=ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            assert ready.wait(SECONDS)
            yield Running(bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()


def user(*parts: str | dict[str, Any]) -> dict[str, Any]:
    """A turn; a text alone is sent as one."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return {"role": "user", "content": parts[0]}
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "content": content}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def shown(data: bytes) -> dict[str, Any]:
    """A picture as a data URL."""
    return image(f"data:image/png;base64,{base64.b64encode(data).decode()}")


def drawn(colour: str, shape: str = "circle") -> dict[str, Any]:
    return shown(draw(colour, shape))
