"""What a client gets from Ray's proxy, whatever a replica or Ray itself has said; without Ray."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message

from visiglot.serve.proxied import OF_RAY, LastWord, lost

JSON = [(b"content-type", b"application/json")]
TEXT = [(b"content-type", b"text/plain")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
LOST = lost().body()


def start(status: int, headers: Sequence[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(text: str, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


def through(messages: Sequence[Message], path: str = "/v1/chat/completions", **headers: str) -> tuple[list[Any], Any]:
    """What a client is sent when the proxy would send `messages`, and the scope that the proxy saw."""
    sent: list[Any] = []
    seen: list[Any] = []

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        for message in messages:
            await send(message)

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "headers": named}
    asyncio.run(LastWord(proxy)(scope, receive, send))
    return sent, seen[0]


@pytest.mark.parametrize(
    "messages",
    [
        [start(200, JSON), body("{}")],
        [start(429, JSON), body('{"error": {}}')],
        [start(200, EVENTS), body("data: 1\n\n", more=True), body("data: [DONE]\n\n")],
        [start(200, TEXT), body("# HELP")],
    ],
)
def test_what_a_replica_says_is_passed_on_as_it_is(messages: list[Message]) -> None:
    assert through(messages)[0] == messages


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [start(200, JSON)],
        [start(200, EVENTS)],
        [start(503, TEXT), body("No replicas are available.")],
        [start(408, TEXT), body("Request 1 timed out", more=True), body("")],
        [start(500, []), body("Internal Server Error")],
    ],
    ids=["nothing", "a head", "a stream's head", "Ray's 503", "Ray's 408", "Ray's 500"],
)
def test_a_request_that_nobody_answered_gets_one_503_of_openais_shape(messages: list[Message]) -> None:
    head, whole = through(messages)[0]
    assert head["status"] == 503
    headers = dict(head["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"retry-after"].isdigit()
    assert json.loads(whole["body"]) == LOST
    assert LOST["error"].keys() == {"message", "type", "param", "code"}


def test_a_stream_that_is_lost_ends_with_an_event_that_says_so() -> None:
    sent, _ = through([start(200, EVENTS), body("data: 1\n\n", more=True)])
    assert [message.get("more_body") for message in sent] == [None, True, False]
    data = sent[-1]["body"].decode()
    assert data.startswith("data: ")
    assert data.endswith("\n\n")
    assert json.loads(data.removeprefix("data: ")) == LOST


def test_half_an_answer_that_is_no_stream_is_cut_off_and_not_ended() -> None:
    sent, _ = through([start(200, TEXT), body("half", more=True)])
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]


def test_what_a_proxy_says_of_itself_is_its_own() -> None:
    messages = [start(503, TEXT), body("This node is being drained.")]
    assert through(messages, path="/-/healthz")[0] == messages


def test_a_client_cant_lift_the_time_limit_or_leave_work_behind() -> None:
    _, scope = through([], X_Request_Timeout_Seconds="0", x_request_disconnect_disabled="?1", authorization="Bearer k")
    assert scope["headers"] == [(b"authorization", b"Bearer k")]
    assert all(name == name.lower() for name in OF_RAY)
