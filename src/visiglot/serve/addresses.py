"""Which addresses are the public internet's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given out to networks (RFC 4291, section 2.4)."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052)."""


_DOCUMENTATION = IPv6Network("3fff::/20")
"""RFC 9637; younger than the table of Python 3.11."""


def is_public(address: str) -> bool:
    """Whether an address, as `getaddrinfo` gives it, is one of the public internet and leads nowhere else.

    IPv4 in IPv6 is judged by the IPv4 address, and tunnels (6to4, Teredo) aren't public: they may end anywhere.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public_v4(ip.ipv4_mapped)
        if ip in _NAT64:
            return _is_public_v4(IPv4Address(int(ip) & 0xFFFFFFFF))
        tunnelled = ip.sixtofour is not None or ip.teredo is not None
        return ip in _UNICAST and ip not in _DOCUMENTATION and ip.is_global and not tunnelled
    return _is_public_v4(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def is_loopback(host: str) -> bool:
    """Whether what listens on `host` can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_loopback
