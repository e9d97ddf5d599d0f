"""Who a request comes from: its address, also behind proxies that are trusted to tell it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from observatory.loopback import is_loopback

_MAX_HOPS = 32


@lru_cache(maxsize=4096)
def _parse(text: str) -> str | None:
    """Return an address as one text, without a port, or ``None`` when it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class Clients:
    """Tells addresses of clients; forwarded ones are believed from trusted proxies only."""

    def __init__(self, trusted_proxies: tuple[str, ...] = ()) -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in trusted_proxies]
        self._trusts = lru_cache(maxsize=4096)(self._is_trusted)

    def _is_trusted(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._networks)

    def find_address(self, env: Mapping[str, Any]) -> str:
        """Return the address of who sent a request.

        That is the last one of ``X-Forwarded-For`` that is no trusted proxy: what stands before
        it came from the client and may be invented. What can not be read ends the search at the
        proxy that passed it on.
        """
        # A Unix socket has no address; only programs of this machine reach it.
        address: str = env.get("REMOTE_ADDR") or "127.0.0.1"
        # A socket of both families tells IPv4 as ::ffff:192.0.2.1, all in one network of IPv6.
        address = _parse(address) or address
        if not self._networks:
            return address
        forwarded = env.get("HTTP_X_FORWARDED_FOR")
        if forwarded is None or _parse(address) is None:
            return address
        for hop in reversed(forwarded.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
            if not self._trusts(address):
                break
            parsed = _parse(hop)
            if parsed is None:
                break
            address = parsed
        return address

    def is_tls(self, env: Mapping[str, Any]) -> bool:
        """Tell whether a request came over TLS, as a trusted proxy says of its last hop."""
        if not self._networks:
            return False
        told = env.get("HTTP_X_FORWARDED_PROTO")
        peer = _parse(env.get("REMOTE_ADDR") or "127.0.0.1")
        if told is None or peer is None or not self._trusts(peer):
            return False
        return str(told).rpartition(",")[2].strip().lower() == "https"


def is_of_this_machine(env: Mapping[str, Any], address: str) -> bool:
    """Tell whether a program of this machine asks for itself, and not a proxy for somebody."""
    return (
        "HTTP_X_FORWARDED_FOR" not in env
        and "HTTP_FORWARDED" not in env
        and "HTTP_VIA" not in env
        and is_loopback_cached(address)
    )


is_loopback_cached = lru_cache(maxsize=4096)(is_loopback)


class Hosts:
    """Tells by which names the server may be called.

    A web page whose own name resolves to this server's address must not read the archive (DNS
    rebinding); the browser says then by which name it calls.

    Args:
        names: Names beside those of this machine.
        takes_addresses: Whether any address is taken, which no page can have for a name.
    """

    def __init__(self, names: tuple[str, ...] = (), *, takes_addresses: bool = False) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._takes_addresses = takes_addresses
        self.allows = lru_cache(maxsize=256)(self._allows)

    def _allows(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        if not (name and port.isdigit()):
            name = host
        name = name.lower()
        is_address = self._takes_addresses and _parse(name) is not None
        return is_address or is_loopback(name) or name.rstrip(".") in self._names
