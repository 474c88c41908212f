"""Who may ask."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from visiglot.errors import ConfigError
from visiglot.serve.addresses import is_loopback
from visiglot.serve.errors import ApiError

_KEY = re.compile(r"[\x21-\x7e]+")


class Access:
    """Keys, if there are any; else whoever is on this machine.

    Args:
        host: that the server listens on.
        keys: any of which opens.

    Raises:
        ConfigError: a key that no header can carry, or none although other machines reach the server.
    """

    def __init__(self, host: str, keys: Sequence[str]) -> None:
        if not keys and not is_loopback(host):
            raise ConfigError(
                "visiglot serve",
                [f"--host {host}: other machines would reach the server, and anyone could use it without a key"],
                hint="Give a key (--api-key-variable NAME), or leave --host out.",
            )
        if not all(map(_KEY.fullmatch, keys)):
            raise ConfigError("visiglot serve", ["--api-key: a key is printable ASCII without spaces"])
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @property
    def several_keys(self) -> bool:
        return len(self._digests) > 1

    def check_host(self, host: str | None) -> None:
        """Without keys, refuse a request that was meant for another host: a web page that has its own name point here.

        Raises:
            ApiError: 403.
        """
        if self._digests:
            return
        try:
            name = urlsplit(f"//{host or ''}").hostname or ""
        except ValueError:
            name = ""
        if not is_loopback(name):
            raise ApiError(
                403, "Without an API key this server answers to localhost and 127.0.0.1 only.", code="host_not_allowed"
            )

    def caller(self, authorization: str | None, address: str) -> str:
        """What to call who asks: by key, or by address where there are no keys.

        All keys are compared, each in constant time.

        Raises:
            ApiError: 401.
        """
        if not self._digests:
            return address
        scheme, _, key = (authorization or "").partition(" ")
        given = hashlib.sha256(key.strip().encode("utf-8", "replace")).digest()
        fits = [hmac.compare_digest(given, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(fits):
            said = "You didn't provide an API key" if not authorization else "Incorrect API key provided"
            raise ApiError(
                401,
                f"{said}. Send one in the header `Authorization: Bearer KEY`.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return f"key {fits.index(True)}"
