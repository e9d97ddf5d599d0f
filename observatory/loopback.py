"""Which names and addresses mean this machine."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether only programs on this machine can reach an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def make_address(host: str, port: int) -> str:
    """Return where a browser on this machine finds a server, ending in a slash."""
    name = host.strip("[]")
    if name in ("0.0.0.0", "::"):  # noqa: S104 - it is told that any address is meant
        name = "127.0.0.1"
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
