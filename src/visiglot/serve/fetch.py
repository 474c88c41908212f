"""The one fetcher of pictures from the web, and the only HTTP client in this room (`tests/unit/serve/test_law.py`).

A URL is followed if its host is on the list and all of the host's addresses are public. The host is looked up once, and
the connection goes to an address that was checked, so a name can't mean something else a moment later. A redirect is a
URL like any other: list, addresses, scheme and port are checked again, and it can't leave https. No proxy, cookie or
credential is ever used, and a body is read as it is sent, so that nothing is unpacked here.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import h11

from visiglot.errors import ConfigError
from visiglot.serve.addresses import is_public
from visiglot.serve.errors import ApiError, invalid

REDIRECTS = 3
PORTS = {"http": 80, "https": 443}
URL_LENGTH = 4096
AT_ONCE = 16
"""Pictures that are fetched at a time, for all requests."""
CONNECT_SECONDS = 2.0
"""After which the host's next address is tried."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> all of its addresses."""

Connect = Callable[[str, int], Awaitable[socket.socket]]
"""A numeric address and a port -> a connected socket."""

_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


@dataclass(frozen=True)
class Target:
    """A URL that may be fetched, as far as can be said without looking up its host.

    Args:
        path: with the query, as it is sent.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class Fetcher:
    """Fetches pictures from the domains on a list.

    Args:
        domains: hosts, each alone (its subdomains aren't meant) or with a port that it is then reached on.
        max_bytes: of a picture.
        seconds: for a picture, everything included.
        resolve, connect: how a host is looked up and reached.

    Raises:
        ConfigError: something on the list is no host.
    """

    def __init__(
        self,
        domains: Iterable[str],
        *,
        max_bytes: int,
        seconds: float,
        resolve: Resolve | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._allowed = _allowed(domains)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._resolve = resolve or _look_up
        self._connect = connect or _connected
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tls = ssl.create_default_context()

    async def fetch(self, url: str, param: str) -> bytes:
        """The body behind a URL.

        Args:
            param: what the URL is called in errors.

        Raises:
            ApiError: 400; it may not be fetched, can't be, is too large, or takes too long.
        """
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                return await self._follow(self._target(url, param), param)
        except TimeoutError:
            raise _refused(f"it didn't arrive within {self._seconds:g} s", param) from None
        except (OSError, h11.RemoteProtocolError, UnicodeError):
            raise _refused("the host can't be reached, or doesn't answer as a web server does", param) from None

    async def _follow(self, target: Target, param: str) -> bytes:
        for _ in range(REDIRECTS + 1):
            found = await self._get(target, param)
            if isinstance(found, bytes):
                return found
            try:
                place = urljoin(target.url, found)
            except ValueError:
                raise _refused("it leads to what is no URL", param) from None
            after = self._target(place, param)
            if target.scheme == "https" and after.scheme != "https":
                raise _refused("it leads from https to http", param)
            target = after
        raise _refused(f"more than {REDIRECTS} redirects", param)

    def _target(self, url: str, param: str) -> Target:
        """Raises ApiError: the URL isn't one that may be fetched."""
        if len(url) > URL_LENGTH:
            raise _refused(f"it has more than {URL_LENGTH:,} characters", param)
        if re.search(r"[\s\\\x00-\x1f\x7f]", url):
            raise _refused("it has white space, control characters or backslashes", param)
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
            host = host.rstrip(".").encode("idna").decode("ascii").lower()
        except ValueError:
            raise _refused("it is no URL", param) from None
        if scheme not in PORTS:
            raise _refused("only http, https and data URLs are read", param)
        if parts.username is not None or parts.password is not None:
            raise _refused("it holds a user's name or password", param)
        port = PORTS[scheme] if port is None else port
        if (host, port) not in self._allowed:
            raise _refused(
                "its host and port aren't among those that this server fetches from (--allowed-media-domains)", param
            )
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
        return Target(scheme, host, port, f"{path}?{query}" if query else path)

    async def _get(self, target: Target, param: str) -> bytes | str:
        """The body, or where a redirect leads."""
        addresses = await self._resolve(target.host, target.port)
        if not addresses or not all(map(is_public, addresses)):
            raise _refused("its host has no address, or one that isn't public", param)
        connected = await self._reach(addresses, target.port)
        try:
            tls = target.scheme == "https"
            reader, writer = await asyncio.open_connection(
                sock=connected, ssl=self._tls if tls else None, server_hostname=target.host if tls else None
            )
        except BaseException:
            connected.close()
            raise
        try:
            return await _exchange(reader, writer, target, self._max_bytes, param)
        finally:
            writer.transport.abort()

    async def _reach(self, addresses: Sequence[str], port: int) -> socket.socket:
        """Connected to the first of `addresses`, which were checked, that can be reached."""
        *others, last = dict.fromkeys(addresses)
        for address in others:
            with suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connect(address, port)
        return await self._connect(last, port)


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, max_bytes: int, param: str
) -> bytes | str:
    """One request and its answer: the body, or where a redirect leads."""
    protocol = h11.Connection(h11.CLIENT)
    host = target.host if target.port == PORTS[target.scheme] else f"{target.host}:{target.port}"
    headers = [
        ("Host", host),
        ("Accept", "image/*"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "visiglot"),
        ("Connection", "close"),
    ]
    asked = h11.Request(method="GET", target=target.path, headers=headers)
    writer.write((protocol.send(asked) or b"") + (protocol.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    body = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            found = {name: value.decode("latin-1") for name, value in event.headers}
            if event.status_code in (301, 302, 303, 307, 308) and b"location" in found:
                return found[b"location"]
            if event.status_code != 200:
                raise _refused(f"its host answered with status {event.status_code}", param)
            if found.get(b"content-encoding", "identity") != "identity":
                raise _refused("its host sent it compressed, which wasn't asked for", param)
            if int(found.get(b"content-length", "0")) > max_bytes:
                raise _too_large(max_bytes, param)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise _too_large(max_bytes, param)
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise OSError("the connection was closed")


def _allowed(domains: Iterable[str]) -> frozenset[tuple[str, int]]:
    """Hosts and the ports that they may be reached on."""
    found: set[tuple[str, int]] = set()
    problems = []
    for domain in domains:
        name, colon, port = domain.strip().rpartition(":") if ":" in domain else (domain.strip(), "", "")
        try:
            host = name.rstrip(".").encode("idna").decode("ascii").lower()
        except UnicodeError:
            host = ""
        if not _DOMAIN.fullmatch(host) or (colon and not (port.isdecimal() and 0 < int(port) < 65536)):
            problems.append(f"{domain!r} is no host: write images.example.org, or images.example.org:8443")
            continue
        found.update({(host, int(port))} if colon else {(host, own) for own in PORTS.values()})
    if problems:
        raise ConfigError("--allowed-media-domains", problems)
    return frozenset(found)


async def _look_up(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def _connected(address: str, port: int) -> socket.socket:
    """Connected without another look-up: the address is numeric."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def _refused(why: str, param: str) -> ApiError:
    return invalid(f"`{param}`: the picture wasn't fetched: {why}.", param, "invalid_image_url")


def _too_large(max_bytes: int, param: str) -> ApiError:
    return _refused(f"it has more than {max_bytes:,} bytes", param)
