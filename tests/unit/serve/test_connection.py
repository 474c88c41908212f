"""Clients that hold a connection open for nothing, and answers that are cut off when the server ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
from tests.unit.serve.serving import SECONDS, SERVED, Reply, Running, Stub, serving, user

from visiglot.errors import ServeError
from visiglot.serve import connection as connection_module
from visiglot.serve import server as server_module
from visiglot.serve.access import Access
from visiglot.serve.api import build_app
from visiglot.serve.limits import Limits
from visiglot.serve.server import Server, bind

HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connection_module, "READ_SECONDS", 0.2)
    monkeypatch.setattr(connection_module, "READ_RATE", 10**9)
    monkeypatch.setattr(server_module, "TICKS", 1)


def ends(connection: socket.socket) -> bool:
    """Whether the server closes the connection, whatever it says before."""
    connection.settimeout(SECONDS)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "sent",
    ["", "POST /v1/chat", HEAD, f"{HEAD.replace('application/json', 'text/plain')}Content-Length: 99\r\n\r\n{{"],
    ids=["nothing", "part of a line", "part of a head", "a body that nobody reads"],
)
def test_a_client_that_never_comes_to_an_end_is_cut_off(sent: str) -> None:
    with serving() as running, socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(sent.encode())
        assert ends(connection)
        assert running.chat().status == 200


@pytest.mark.usefixtures("hurried")
def test_a_client_that_sends_its_head_byte_by_byte_is_cut_off() -> None:
    def send(connection: socket.socket) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            connection.sendall(b"x")
            time.sleep(0.05)

    with (
        serving() as running,
        socket.create_connection(("127.0.0.1", running.port)) as connection,
        pytest.raises(ConnectionError),
    ):
        send(connection)


@pytest.mark.usefixtures("hurried")
def test_a_client_that_does_not_read_its_answer_is_cut_off_and_its_rows_are_freed() -> None:
    stub = Stub(pieces=("x" * 20_000_000,), endless=True)  # more than the sockets' buffers hold
    with serving(stub, requests=1) as running:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", running.port))
            body = '{"model": "tiny", "stream": true, "messages": [{"role": "user", "content": "x"}]}'
            connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            assert stub.cancelled.wait(SECONDS)
        stub.endless, stub.pieces = False, ("x",)
        wait_for(lambda: running.chat().status == 200)


@pytest.mark.usefixtures("hurried")
def test_a_slow_answer_and_a_client_that_asks_again_and_again_are_not_cut_off() -> None:
    held = threading.Event()
    with serving(Stub(held=held)) as running:
        threading.Timer(1.0, held.set).start()
        client = running.client()
        for _ in range(3):
            assert client.chat.completions.create(model="tiny", messages=[user("x")]).choices


def test_more_connections_than_the_limit_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CONNECTIONS", 3)
    with serving() as running:
        held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", running.port)) as one_more:
            assert ends(one_more)
        for connection in held:
            connection.close()
        wait_for(lambda: _answers(running))


def _answers(running: Running) -> bool:
    try:
        return running.chat().status == 200
    except ConnectionError:
        return False


def test_an_answer_that_is_not_there_when_the_time_is_over_is_an_error_that_says_so() -> None:
    held = threading.Event()
    stub = Stub(error=ServeError("the server is closing"), held=held)

    def overdue() -> None:
        stub.alive = False
        held.set()

    found: list[Reply] = []
    app = build_app(stub, SERVED, Access("127.0.0.1", []), limits=Limits())
    ready = threading.Event()
    with bind("127.0.0.1", 0) as bound:
        server = Server(app, bound, shutdown_seconds=0.2, started=ready.set, overdue=overdue)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        assert ready.wait(SECONDS)
        running = Running(bound.getsockname()[1])
        asking = threading.Thread(target=lambda: found.append(running.chat()))
        asking.start()
        wait_for(lambda: len(stub.asks) == 1)
        server.should_exit = True
        asking.join(SECONDS)
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert (found[0].status, found[0].error["code"]) == (503, "server_closing")
