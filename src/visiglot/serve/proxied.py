"""What Ray's proxies do beside passing requests on: whatever becomes of a replica, a client gets one proper answer.

A proxy loads this module by its name, from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH. It loads no model and no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from visiglot.serve.errors import SERVER, ApiError

CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""The environment variable by which a proxy of Ray Serve knows `middlewares`."""

RETRY_SECONDS = 2
"""After which one whose answer was lost may ask again: the other replicas are there, Ray starts the lost one anew."""

OWN = "/-/"
"""Begins the paths that a proxy answers itself: `/-/healthz` says whether it is alive, `/-/routes` what it knows."""

OF_RAY = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})
"""Headers by which Ray would let a client have no time limit, or leave its work running when it hangs up."""


def middlewares() -> list[Middleware]:
    """What Ray's proxies put before everything."""
    return [Middleware(LastWord)]


def lost() -> ApiError:
    """The replica that worked on a request is gone, or none took it in time."""
    return ApiError(
        503,
        "The replica that worked on the request is gone, or none is free. Ask again; with a seed the answer is the "
        "same.",
        type=SERVER,
        code="replica_lost",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


@dataclass
class _Said:
    """What was sent of a response.

    Args:
        start: that isn't passed on yet, because no byte of the body is there.
        begun, ended: whether the client has its head, and its end.
        of_ray: an error in Ray's words, which the client won't get.
        is_stream: of events.
    """

    send: Send
    start: Message | None = None
    begun: bool = False
    ended: bool = False
    of_ray: bool = False
    is_stream: bool = False

    async def message(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            self.of_ray = message["status"] >= 400 and not kind.startswith(b"application/json")
            self.is_stream = kind.startswith(b"text/event-stream")
            self.start = message
        elif not self.of_ray:
            if self.start is not None and not self.begun:
                self.begun = True
                await self.send(self.start)
            self.ended = not message.get("more_body", False)
            await self.send(message)


@dataclass
class LastWord:
    """Has every request end as OpenAI's clients expect it, where Ray would say nothing or something of its own.

    Ray's proxy ends a request without a word when its replica dies. Here it gets a 503 of OpenAI's shape, and a stream
    that has begun an event with that error. What has begun and is no stream is cut off.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OWN):
            await self.app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in OF_RAY]
        said = _Said(send)
        await self.app({**scope, "headers": headers}, receive, said.message)
        if said.ended:
            return
        error = lost()
        if not said.begun:
            await JSONResponse(error.body(), error.status, error.headers)(scope, receive, send)
        elif said.is_stream:
            body = f"data: {json.dumps(error.body())}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": False})
