"""Addresses, and who may ask."""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import Any

import pytest

from visiglot.errors import ConfigError
from visiglot.serve.access import Access
from visiglot.serve.addresses import is_loopback, is_public
from visiglot.serve.errors import ApiError


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "",
        "localhost",
        "8.8.8",
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost", "::ffff:127.0.0.1"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    assert Access(host, []).caller(None, "127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.5", "example.org", "", "127.0.0.1.example.org"])
def test_any_other_host_without_a_key_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="without a key"):
        Access(host, [])
    assert Access(host, ["key"]).caller("Bearer key", "x") == "key 0"


@pytest.mark.parametrize("key", ["", " ", "a b", "schlüssel", "a\n"])
def test_a_key_that_no_header_carries_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="api-key"):
        Access("127.0.0.1", [key])


@pytest.mark.parametrize(
    "header", [None, "", "key-1", "Basic key-1", "Bearer", "Bearer ", "Bearer key-11", "Bearer KEY-1"]
)
def test_a_wrong_header_is_refused_without_repeating_it(header: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        Access("0.0.0.0", ["key-1", "key-2"]).caller(header, "x")
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert "key-1" not in caught.value.message


def test_all_keys_are_compared_in_constant_time_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    real, compared = hmac.compare_digest, []

    def noted(one: Any, other: Any) -> bool:
        assert len(one) == len(other) == 32
        compared.append(other)
        return bool(real(one, other))

    monkeypatch.setattr(hmac, "compare_digest", noted)
    access = Access("0.0.0.0", ["first", "second", "third"])
    for key in ("first", "third", "x", "x" * 10_000):
        with suppress(ApiError):
            access.caller(f"Bearer {key}", "x")
        assert len(compared) == 3
        compared.clear()
