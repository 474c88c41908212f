"""The fetcher: lists, addresses, redirects and caps, with loopback servers in place of the web's.

A test's web is a resolver of its own and a `connect` that leads a public address to a server on this machine; what the
fetcher thinks of the address is the real thing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.drawn import draw
from tests.unit.serve.serving import Stub, image, serving, user

from visiglot.errors import ConfigError
from visiglot.serve import fetch
from visiglot.serve.errors import ApiError
from visiglot.serve.fetch import REDIRECTS, Fetcher

PUBLIC, OTHER = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
RED = draw("red", "circle")
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """Hosts by name, each with its addresses, and what the server behind all of them says.

    Args:
        names: host -> addresses; a list of lists is what each look-up in turn gives.
        unreachable: addresses that refuse a connection.
        silent: addresses from which nothing ever comes.
    """

    names: dict[str, list[Any]]
    answer: Answer
    looked_up: list[tuple[str, int]] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    unreachable: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append((host, port))
        found = self.names.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return found.pop(0) if found and isinstance(found[0], list) else found

    async def connect(self, address: str, port: int) -> socket.socket:
        self.connected.append((address, port))
        if address in self.unreachable:
            raise ConnectionRefusedError
        if address in self.silent:
            await asyncio.sleep(60)
        made = socket.socket()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.port))
        return made

    def fetcher(self, *domains: str, max_bytes: int = 100_000, seconds: float = 30.0) -> Fetcher:
        return Fetcher(domains, max_bytes=max_bytes, seconds=seconds, resolve=self.resolve, connect=self.connect)

    def fetch(self, url: str, *domains: str, **limits: Any) -> bytes:
        async def main() -> bytes:
            return await self.fetcher(*(domains or ("pics.example",)), **limits).fetch(url, "url")

        return asyncio.run(main())

    def refuses(self, url: str, *domains: str, **limits: Any) -> str:
        with pytest.raises(ApiError) as caught:
            self.fetch(url, *domains, **limits)
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_image_url", "url")
        return caught.value.message


@contextmanager
def web(answer: Answer, **names: list[Any]) -> Iterator[Web]:
    """`pics_example=[...]` are the addresses of pics.example."""
    found = Web({name.replace("_", "."): addresses for name, addresses in names.items()}, answer)
    found.names.setdefault("pics.example", [PUBLIC])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append((self.headers["Host"], self.path, dict(self.headers)))
            found.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def reply(data: bytes = RED, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def redirect(*places: str, status: int = 302) -> Answer:
    """To each of `places` in turn, then a picture."""
    left = list(places)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (reply(b"", status, Location=left.pop(0)) if left else reply())(handler)

    return answer


# --- what may be fetched ---------------------------------------------------------------------------------------------


def test_a_picture_of_a_listed_host_is_fetched_from_the_address_that_was_checked() -> None:
    with web(reply()) as one:
        assert one.fetch("http://Pics.Example/a%20b/ü.png?size=1&x=[y]#part") == RED
    assert one.looked_up == [("pics.example", 80)]
    assert one.connected == [(PUBLIC, 80)]
    ((host, path, headers),) = one.asked
    assert (host, path) == ("pics.example", "/a%20b/%C3%BC.png?size=1&x=[y]")
    assert set(headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/a.png",
        "http://sub.pics.example/a.png",
        "http://example/a.png",
        "http://pics.example.evil.example/a.png",
        "http://pics.example:8080/a.png",
        "https://pics.example:80443/a.png",
        "http://pics.example:0/a.png",
        "http://user@pics.example/a.png",
        "http://user:word@pics.example/a.png",
        "http://pics.example@other.example/a.png",
        "http://other.example\\@pics.example/a.png",
        "http://pics.example\\.other.example/a.png",
        "http://pics.example /a.png",
        "http://pics.example/a\r\nHost: x",
        "http://pics.\texample/a.png",
        "http://127.0.0.1/a.png",
        "http://[::1]/a.png",
        "http://2130706433/a.png",
        "http:///a.png",
        "http://[pics.example/a.png",
        "ftp://pics.example/a.png",
        "file://pics.example/etc/passwd",
        "gopher://pics.example/a.png",
        "http:pics.example",
        "//pics.example/a.png",
        "http://pics.example/" + "a" * 5000,
        "http://" + "a" * 300 + ".example/",
        "http://..example/",
    ],
)
def test_no_other_url_is_even_looked_up(url: str) -> None:
    with web(reply()) as one:
        one.refuses(url)
    assert (one.looked_up, one.connected) == ([], [])


def test_a_port_is_only_used_where_it_was_listed() -> None:
    with web(reply()) as one:
        assert one.fetch("http://pics.example:8080/", "pics.example:8080") == RED
        assert one.connected == [(PUBLIC, 8080)]
        assert one.asked[0][0] == "pics.example:8080"
        one.refuses("http://pics.example/", "pics.example:8080")


def test_a_host_in_another_script_is_listed_as_it_is_written() -> None:
    with web(reply(), **{"xn--bcher-kva_example": [PUBLIC]}) as one:
        assert one.fetch("http://BÜCHER.example/", "bücher.example") == RED


@pytest.mark.parametrize(
    "domain",
    ["", " ", "*", "*.example", "http://pics.example", "pics.example/", "a..b", "pics.example:", "x:99999", "-a"],
)
def test_what_is_no_host_is_refused_when_the_server_starts(domain: str) -> None:
    with pytest.raises(ConfigError, match="allowed-media-domains"):
        Fetcher([domain], max_bytes=1, seconds=1)


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["::1"],
        ["fe80::1"],
        ["fd00::1"],
        ["::ffff:169.254.169.254"],
        ["64:ff9b::a9fe:a9fe"],
        ["2002:7f00:1::"],
        [PUBLIC, "192.168.0.1"],
        [OTHER, "::1"],
        [],
    ],
)
def test_a_host_with_any_address_that_is_not_public_is_never_reached(addresses: list[str]) -> None:
    with web(reply(), pics_example=addresses) as one:
        message = one.refuses("http://pics.example/a.png")
    assert one.connected == []
    assert not [address for address in addresses if address in message]


def test_a_public_address_of_ipv6_is_reached() -> None:
    with web(reply(), pics_example=[OTHER]) as one:
        assert one.fetch("http://pics.example/") == RED
    assert one.connected == [(OTHER, 80)]


def test_where_an_address_cannot_be_reached_the_next_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.05)
    with web(reply(), pics_example=[OTHER, OTHER, "1.1.1.1", PUBLIC]) as one:
        one.unreachable, one.silent = (OTHER,), ("1.1.1.1",)
        assert one.fetch("http://pics.example/") == RED
    assert one.connected == [(OTHER, 80), ("1.1.1.1", 80), (PUBLIC, 80)]
    assert len(one.looked_up) == 1


def test_a_host_of_which_no_address_can_be_reached_is_refused() -> None:
    with web(reply(), pics_example=[OTHER, PUBLIC]) as one:
        one.unreachable = (OTHER, PUBLIC)
        assert "reached" in one.refuses("http://pics.example/")
    assert one.connected == [(OTHER, 80), (PUBLIC, 80)]


def test_a_name_that_means_something_else_a_moment_later_gains_nothing() -> None:
    with web(reply(), pics_example=[[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]]) as one:
        assert one.fetch("http://pics.example/") == RED
        assert one.connected == [(PUBLIC, 80)]
        assert len(one.looked_up) == 1
        one.refuses("http://pics.example/")
    assert one.connected == [(PUBLIC, 80)]


def test_each_redirect_is_looked_up_and_checked_anew() -> None:
    with web(redirect("/next"), pics_example=[[PUBLIC], ["127.0.0.1"]]) as one:
        one.refuses("http://pics.example/")
    assert one.looked_up == [("pics.example", 80)] * 2
    assert one.connected == [(PUBLIC, 80)]


def test_an_unknown_host_is_refused() -> None:
    with web(reply()) as one:
        assert "reached" in one.refuses("http://nowhere.example/", "nowhere.example")


# --- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_listed_host_is_followed(status: int) -> None:
    with web(redirect("http://cdn.example/b.png", status=status), cdn_example=[OTHER]) as one:
        assert one.fetch("http://pics.example/a.png", "pics.example", "cdn.example") == RED
    assert one.connected == [(PUBLIC, 80), (OTHER, 80)]
    assert [(host, path) for host, path, _ in one.asked] == [("pics.example", "/a.png"), ("cdn.example", "/b.png")]


@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:8000/",
        "http://localhost/",
        "http://other.example/",
        "http://pics.example:22/",
        "//other.example/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "ftp://pics.example/",
        "http://user@pics.example/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::1",
    ],
)
def test_a_redirect_to_anything_else_is_not(place: str) -> None:
    with web(redirect(place)) as one:
        one.refuses("http://pics.example/")
    assert one.connected == [(PUBLIC, 80)]
    assert one.looked_up == [("pics.example", 80)]


def test_redirects_are_counted() -> None:
    with web(redirect(*(f"/{place}" for place in range(REDIRECTS)))) as one:
        assert one.fetch("http://pics.example/") == RED
    with web(redirect(*(f"/{place}" for place in range(REDIRECTS + 1)))) as one:
        assert "redirects" in one.refuses("http://pics.example/")


def test_a_redirect_out_of_https_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(redirect("http://pics.example/")) as one:
        real = asyncio.open_connection

        async def plain(**options: Any) -> Any:  # the test's servers speak no TLS
            assert isinstance(options.pop("ssl"), ssl.SSLContext)
            assert options.pop("server_hostname") == "pics.example"
            return await real(**options)

        monkeypatch.setattr(asyncio, "open_connection", plain)
        assert "https to http" in one.refuses("https://pics.example/")
    assert one.connected == [(PUBLIC, 443)]


def test_https_wants_a_certificate() -> None:
    with web(reply()) as one:
        assert "reached" in one.refuses("https://pics.example/")
    assert one.asked == []


# --- caps ------------------------------------------------------------------------------------------------------------


def test_bytes_are_counted_as_declared_and_as_they_come() -> None:
    with web(reply(b"x" * 1000)) as one:
        assert len(one.fetch("http://pics.example/", max_bytes=1000)) == 1000
        assert "999 bytes" in one.refuses("http://pics.example/", max_bytes=999)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 1000)
        except OSError:
            pass

    with web(endless) as one:
        assert "bytes" in one.refuses("http://pics.example/", max_bytes=50_000)


@pytest.mark.parametrize("where", ["before", "in the head", "in the body"])
def test_a_server_that_trickles_is_given_up(where: str) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n"
        first = {"before": b"", "in the head": head, "in the body": head + b"\r\nx"}[where]
        try:
            handler.wfile.write(first)
            while True:
                handler.wfile.write(b"" if where == "before" else b"x" if where == "in the body" else b"X: y\r\n")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    with web(slow) as one:
        assert "0.3 s" in one.refuses("http://pics.example/", seconds=0.3)


def test_a_look_up_that_takes_too_long_is_given_up() -> None:
    with web(reply()) as one:

        async def slow(host: str, port: int) -> Sequence[str]:
            await asyncio.sleep(60)
            raise AssertionError

        one.resolve = slow  # type: ignore[method-assign]
        assert "0.1 s" in one.refuses("http://pics.example/", seconds=0.1)


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 500, 206])
def test_any_other_status_is_an_error(status: int) -> None:
    with web(reply(b"" if status in (204, 304) else b"x", status)) as one:
        assert str(status) in one.refuses("http://pics.example/")


def test_a_compressed_body_is_refused() -> None:
    with web(reply(b"x", Content_Encoding="gzip")) as one:
        assert "compressed" in one.refuses("http://pics.example/")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    ],
)
def test_what_is_no_answer_of_a_web_server_is_an_error(raw: bytes) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(raw)

    with web(answer) as one:
        assert "reached" in one.refuses("http://pics.example/")


# --- in the server ---------------------------------------------------------------------------------------------------


def test_the_server_fetches_and_checks_what_came() -> None:
    stub = Stub()
    with web(reply()) as one, serving(stub, fetcher=one.fetcher("pics.example")) as running:
        assert running.chat(user("x", image("http://pics.example/a.png"))).status == 200
        assert stub.asks[0].example.images[0].data == RED
        other = running.chat(user("x", image("http://other.example/a.png")))
        assert (other.status, other.error["code"]) == (400, "invalid_image_url")
        assert other.error["param"] == "messages[0].content[1].image_url"
        one.answer = reply(b"<html>")
        page = running.chat(user("x", image("http://pics.example/a.png")))
        assert (page.status, page.error["code"]) == (400, "invalid_image")
    assert len(stub.asks) == 1


def test_a_url_that_stands_twice_is_fetched_once() -> None:
    with web(reply()) as one, serving(fetcher=one.fetcher("pics.example")) as running:
        picture = image("http://pics.example/a.png")
        assert running.chat(user("x", picture, picture)).status == 200
    assert len(one.asked) == 1


def test_what_may_be_fetched_counts_as_held_meanwhile() -> None:
    with (
        web(reply()) as one,
        serving(fetcher=one.fetcher("pics.example"), held_bytes=10_000, image_bytes=20_000) as running,
    ):
        reply_ = running.chat(user(image("http://pics.example/a.png")))
        assert (reply_.status, one.asked) == (429, [])
