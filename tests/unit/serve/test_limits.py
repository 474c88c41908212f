"""Every limit of the HTTP side, and errors of OpenAI's shape for each."""

from __future__ import annotations

import base64
import http.client
import logging
import socket
import threading
import time
from typing import Any
from urllib.parse import quote_from_bytes

import openai
import pytest
from tests.drawn import draw
from tests.unit.serve.asking import tiny
from tests.unit.serve.serving import SECONDS, Reply, Running, Stub, drawn, image, serving, shown, user

from visiglot.errors import ImageError, LanguageError, ModelError, PromptError, QueueFullError, ServeError, TooLongError
from visiglot.images import MAX_ESCAPED
from visiglot.serve.engine import Engine
from visiglot.serve.limits import Limits
from visiglot.serve.load import Load

RED = draw("red", "circle")


def refused(reply: Reply, status: int, code: str | None = None) -> dict[str, Any]:
    assert (reply.status, reply.error["code"]) == (status, code or reply.error["code"])
    return reply.error


# --- body ------------------------------------------------------------------------------------------------------------


def test_a_body_beyond_the_limit_is_refused_and_the_next_request_is_answered() -> None:
    stub = Stub()
    with serving(stub, body_bytes=10_000) as running:
        for size in (10_001, 19_000, 200_000):
            refused(running.ask(b" " * size), 413, "request_too_large")
        refused(running.ask(b" " * 9_999), 400, "invalid_json")
        with pytest.raises(openai.APIStatusError) as caught:
            running.client().chat.completions.create(model="tiny", messages=[user("x" * 11_000)])
        assert caught.value.status_code == 413
        assert running.chat().status == 200
    assert len(stub.asks) == 1


def test_a_body_of_unknown_length_is_cut_off_too() -> None:
    with serving(body_bytes=10_000) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SECONDS)
        chunks = (b" " * 1000 for _ in range(15))
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        connection.request("POST", "/v1/chat/completions", chunks, headers, encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()


def test_a_body_that_never_comes_is_given_up() -> None:
    with serving(body_seconds=0.2) as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.settimeout(SECONDS)
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_that_a_web_page_could_send_unasked_is_refused(kind: str) -> None:
    with serving() as running:
        refused(running.ask(b"{}", Content_Type=kind), 415, "not_json")
        assert running.ask(method="OPTIONS", Origin="https://example.org").status == 405


def test_a_name_that_was_made_to_point_here_is_refused() -> None:
    stub = Stub()
    with serving(stub) as running:
        for host in ("example.org", "example.org:80", "127.0.0.1.example.org", "10.0.0.1", "[", ""):
            refused(running.ask({}, Host=host), 403, "host_not_allowed")
        for host in ("localhost", "127.0.0.1:1234", "[::1]:80", "LOCALHOST"):
            assert running.ask(method="GET", path="/v1/models", Host=host).status == 200
    with serving(stub, keys=["key"]) as running:
        reply = running.ask(method="GET", path="/v1/models", Host="example.org", Authorization="Bearer key")
        assert reply.status == 200
    assert stub.asks == []


def test_all_bodies_together_are_limited() -> None:
    held = threading.Event()
    stub = Stub(held=held)
    with serving(stub, held_bytes=3_000) as running:
        first = threading.Thread(target=running.chat, args=(user("x" * 2_000),))
        first.start()
        wait_for(lambda: len(stub.asks) == 1)
        reply = running.chat(user("x" * 2_000))
        refused(reply, 429, "rate_limit_exceeded")
        assert int(reply.headers["retry-after"]) > 0
        held.set()
        first.join()
        assert running.chat(user("x" * 2_000)).status == 200


def test_requests_together_are_limited() -> None:
    held = threading.Event()
    stub = Stub(held=held)
    with serving(stub, requests=2) as running:
        threads = [threading.Thread(target=running.chat) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(stub.asks) == 2)
        refused(running.chat(), 429, "rate_limit_exceeded")
        assert running.ask(method="GET", path="/health").status == 200
        held.set()
        for thread in threads:
            thread.join()
        assert running.chat().status == 200


@pytest.mark.parametrize(
    ("limits", "letters"), [({"requests": 4}, 1), ({"held_bytes": 10_000}, 2_000)], ids=["requests", "bytes"]
)
def test_of_several_keys_none_takes_all_places(limits: dict[str, int], letters: int) -> None:
    held = threading.Event()
    stub = Stub(held=held)
    body = {"model": "tiny", "messages": [user("x" * letters)]}
    with serving(stub, keys=["one", "two"], **limits) as running:

        def ask(key: str) -> Reply:
            return running.ask(body, Authorization=f"Bearer {key}")

        threads = [threading.Thread(target=ask, args=("one",)) for _ in range(2)]
        for count, thread in enumerate(threads):
            thread.start()
            wait_for(lambda count=count: len(stub.asks) == count + 1)  # type: ignore[misc]
        error = refused(ask("one"), 429, "rate_limit_exceeded")
        assert "of this key" in error["message"]
        threads.append(threading.Thread(target=ask, args=("two",)))
        threads[-1].start()
        wait_for(lambda: len(stub.asks) == 3)
        held.set()
        for thread in threads:
            thread.join()
        assert ask("one").status == 200
    assert [one.user for one in stub.asks] == ["key 0", "key 0", "key 1", "key 0"]


def test_callers_of_whom_nothing_is_worked_on_are_forgotten() -> None:
    load = Load(Limits(), shared=True)
    for number in range(3):
        with load.admitted(f"address {number}") as held:
            held.add(10)
            assert (load.requests, load.held_bytes) == (1, 10)
    assert (load.requests, load.held_bytes) == (0, 0)
    assert not load._requests
    assert not load._bytes


# --- pictures --------------------------------------------------------------------------------------------------------


def test_more_pictures_than_the_limit_are_refused() -> None:
    with serving(images=2) as running:
        assert running.chat(user(drawn("red"), drawn("blue"))).status == 200
        error = refused(running.chat(user(drawn("red")), user(drawn("red"), drawn("blue"))), 400, "too_many_images")
        assert "3 pictures" in error["message"]


def test_a_picture_with_more_bytes_or_pixels_than_the_limit_is_refused() -> None:
    with serving(image_bytes=len(RED) - 1) as running:
        error = refused(running.chat(user("x", shown(RED))), 400, "invalid_image")
        assert error["param"] == "messages[0].content[1].image_url"
    with serving(image_pixels=32 * 32 - 1) as running:
        assert "32 x 32" in refused(running.chat(user(shown(RED))), 400, "invalid_image")["message"]
    with serving(image_pixels=32 * 32, image_bytes=len(RED)) as running:
        assert running.chat(user(shown(RED))).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "/etc/passwd",
        "~/picture.png",
        "picture.png",
        "http://127.0.0.1/picture.png",
        "https://example.org/picture.png",
        "ftp://example.org/picture.png",
        "data:image/png;base64",
        "data:image/png;base64,@@@",
        "data:image/png;base64,",
        "data:text/plain,hello",
        "data:image/svg+xml;base64," + base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
        "data:image/png;base64," + base64.b64encode(RED[:40]).decode(),
        " data:image/png;base64," + base64.b64encode(RED).decode(),
    ],
)
def test_what_is_no_picture_in_the_request_is_refused(url: str) -> None:
    stub = Stub()
    with serving(stub) as running:
        error = refused(running.chat(user("x", image(url))), 400)
        assert error["code"] in ("invalid_image", "invalid_image_url")
        assert error["param"] == "messages[0].content[1].image_url"
    assert stub.asks == []


def test_escapes_in_a_data_url_are_read_and_a_url_of_nothing_else_is_refused() -> None:
    escaped = base64.b64encode(RED).decode().replace("+", "%2B").replace("/", "%2f").replace("=", "%3D")
    with serving() as running:
        assert "%2B" in escaped
        assert running.chat(user(image(f"data:image/png;base64,{escaped}"))).status == 200
        assert running.chat(user(image(f"data:image/png,{quote_from_bytes(RED)}"))).status == 200
        for url in (f"data:image/png;base64,{'%' * MAX_ESCAPED}x", f"data:,{'%41' * MAX_ESCAPED}"):
            assert "limit" in refused(running.chat(user(image(url))), 400, "invalid_image")["message"]


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "", "IMAGE/PNG;charset=x"])
def test_what_a_data_url_calls_its_picture_does_not_matter(kind: str) -> None:
    with serving() as running:
        assert running.chat(user(image(f"DATA:{kind};base64,{base64.b64encode(RED).decode()}"))).status == 200


def test_pictures_of_other_turns_than_the_user_s_are_refused() -> None:
    with serving() as running:
        reply = running.chat({"role": "system", "content": [drawn("red")]}, user("x"))
        assert refused(reply, 400)["param"] == "messages[0]"


def test_more_messages_than_the_limit_are_refused() -> None:
    with serving(messages=3) as running:
        assert running.chat(*[user("x")] * 3).status == 200
        assert refused(running.chat(*[user("x")] * 4), 400)["param"] == "messages"


# --- tokens, time, the engine's errors -------------------------------------------------------------------------------


def test_a_prompt_that_is_too_long_is_refused_by_the_real_engine() -> None:
    built = tiny()
    with serving(Engine(built.model, built.processor)) as running:
        refused(running.chat(user("dog " * 200)), 400, "context_length_exceeded")
        refused(running.chat(user("")), 400, "invalid_prompt")
        refused(running.chat(user("an <image> in text")), 400, "invalid_prompt")
        assert running.chat(user("dog"), max_tokens=2).status == 200


def test_a_prompt_beyond_the_batch_s_tokens_is_refused_by_the_real_engine() -> None:
    built = tiny()
    with serving(Engine(built.model, built.processor, max_batch_tokens=50)) as running:
        assert "--max-batch-tokens" in refused(running.chat(user("dog"), max_tokens=60), 400)["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_takes_too_long_is_ended(stream: bool) -> None:
    stub = Stub(endless=True)
    with serving(stub, request_seconds=0.3) as running:
        reply = running.chat(stream=stream)
        assert stub.cancelled.wait(SECONDS)
        if stream:
            assert reply.status == 200
            assert '"code":"timeout"' in reply.events[-1]
            with pytest.raises(openai.APIError, match=r"0\.3 s"):
                list(running.client().chat.completions.create(model="tiny", messages=[user("x")], stream=True))
        else:
            refused(reply, 504, "timeout")
            assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (QueueFullError("3 requests are waiting", hint="Try again."), 429, "rate_limit_exceeded"),
        (PromptError("text and pictures"), 400, "invalid_prompt"),
        (TooLongError("300 tokens"), 400, "context_length_exceeded"),
        (ImageError("broken PNG"), 400, "invalid_image"),
        (LanguageError("language", "klingon", ["deu_Latn"]), 400, "unknown_language"),
        (ServeError("the model failed on this request"), 500, "server_error"),
        (ModelError("scores aren't finite"), 500, "server_error"),
        (RuntimeError("a bug with a secret"), 500, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_the_engine_raises_first_has_its_status(error: Exception, status: int, code: str, stream: bool) -> None:
    with serving(Stub(error=error)) as running:
        found = refused(running.chat(stream=stream), status, code)
        assert "secret" not in found["message"]
        assert (found["type"] == "server_error") == (status == 500)


def test_what_goes_wrong_later_ends_a_stream_with_an_event_that_says_so() -> None:
    stub = Stub(error=ServeError("the model failed on this request"), fails_at=1)
    with serving(stub) as running:
        chunks = iter(running.client().chat.completions.create(model="tiny", messages=[user("x")], stream=True))
        assert next(chunks).choices[0].delta.content == "a "
        with pytest.raises(openai.APIError, match="the model failed"):
            next(chunks)
        refused(running.chat(), 500, "server_error")


def test_one_choice_that_fails_ends_the_others() -> None:
    stub = Stub(error=QueueFullError("the queue is full"), fails_at=0)
    with serving(stub) as running:
        refused(running.chat(n=5), 429)
        assert stub.listeners == 0


def test_a_server_that_is_closing_says_so() -> None:
    stub = Stub(error=ServeError("the server is closing"))
    with serving(stub) as running:
        stub.alive = False
        refused(running.chat(), 503, "server_closing")
        assert running.ask(method="GET", path="/health").status == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/page", 404), ("GET", "/docs", 404), ("GET", "/openapi.json", 404), ("GET", "/v1/chat/completions", 405)],
)
def test_errors_of_routes_have_the_same_shape(method: str, path: str, status: int) -> None:
    with serving() as running:
        refused(running.ask(method=method, path=path), status)


def test_what_can_be_got_can_be_asked_for_its_head_alone() -> None:
    with serving() as running:
        for path in ("/health", "/metrics", "/v1/models", "/v1/models/tiny"):
            reply = running.ask(method="HEAD", path=path)
            assert (reply.status, reply.body) == (200, b"")


# --- what is written down --------------------------------------------------------------------------------------------


def test_the_log_says_nothing_of_what_is_asked_or_answered(caplog: pytest.LogCaptureFixture) -> None:
    secret = base64.b64encode(RED).decode()
    caplog.set_level(logging.DEBUG)
    with serving(Stub(error=RuntimeError("bug"), fails_at=1), keys=["the-key"]) as running:
        ask = {"model": "tiny", "messages": [user("the-question", shown(RED))], "user": "the-user"}
        for body in (ask, {**ask, "stream": True}, {**ask, "x": secret}, {**ask, "model": secret}):
            running.ask(body, Authorization="Bearer the-key")
        running.ask(ask, Authorization="Bearer the-wrong-key")
        running.ask(method="GET", path=f"/{secret[:500]}?{secret[:500]}")
    written = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert "POST /v1/chat/completions 400" in written
    assert "POST /v1/chat/completions 401" in written
    assert "GET other 404" in written
    assert not [part for part in (secret[:24], "the-key", "the-wrong", "the-question", "the-user") if part in written]


def test_metrics_are_prometheus_text() -> None:
    with serving() as running:
        assert running.chat().status == 200
        running.chat(model="other")
        reply = running.ask(method="GET", path="/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {}
    families: dict[str, str] = {}
    for line in reply.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            families[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    base = {
        name.partition("{")[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in values
    }
    assert base == set(families)
    assert all((kind == "counter") == name.endswith("_total") for name, kind in families.items())
    assert values['visiglot_http_requests_total{route="/v1/chat/completions",status="200"}'] == 1
    assert values['visiglot_http_requests_total{route="/v1/chat/completions",status="404"}'] == 1
    assert values["visiglot_finished_total"] == 7
    assert values["visiglot_request_seconds_count"] == values['visiglot_request_seconds_bucket{le="+Inf"}'] == 1
    assert values["visiglot_held_bytes"] == 0


def test_users_of_one_key_take_turns_and_keys_do_where_there_are_several() -> None:
    stub = Stub()
    with serving(stub) as running:
        running.chat(user=None)
        running.chat(user="ann")
    with serving(stub, keys=["one", "two"]) as running:
        ask = {"model": "tiny", "messages": [user("x")], "user": "ann"}
        running.ask(ask, Authorization="Bearer two")
    assert [one.user for one in stub.asks] == ["127.0.0.1", "127.0.0.1 ann", "key 1"]


def wait_for(happened: Any) -> None:
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_requests_under_way_may_end_when_the_server_is_told_to_stop() -> None:
    held = threading.Event()
    stub = Stub(held=held)
    found: list[Reply] = []

    def ask(running: Running) -> None:
        found.append(running.chat())

    with serving(stub) as running:
        thread = threading.Thread(target=ask, args=(running,))
        thread.start()
        wait_for(lambda: len(stub.asks) == 1)
        threading.Timer(0.2, held.set).start()
    thread.join()
    assert found[0].status == 200
    assert not stub.alive
