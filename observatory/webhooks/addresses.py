"""Where webhooks may be sent: which URLs can be taken, and which addresses are refused.

Who may make webhooks must not get answers, or effects, from what only this machine can reach: its
own services, those of its network, and what clouds tell about a machine to itself. So an address
must be one of the public Internet, or of a network that WEBHOOK_ALLOWED_NETWORKS names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from observatory.errors import ObservatoryError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_CHARACTERS = 2000
_PORTS = {"http": 80, "https": 443}
# What is visible in ASCII, without what programs read as something else.
_URL = re.compile(r'[^\x00-\x20\x7f-\U0010ffff"<>\\^`{|}#]+')
_NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_-]{1,63}\.?")
_BRACKETED = re.compile(r"\[[^\]]*\](:[0-9]*)?")
# The last part of a name never looks like this: it would be read as an IPv4 address.
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)")

# Source: IANA's registries of special-purpose addresses, RFC 6890 and later. The one that is
# public by its number is where Azure's machines ask about themselves.
_REFUSED_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "168.63.129.16/32",
        ),
    )
)  # fmt: skip
# All that is public in IPv6 so far; and what is not public in it. Teredo (2001::/32) is in the
# first: it is out of use, and holds an IPv4 address twice.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Below the last 64 bits of an address that ISATAP made lies an IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)


class UrlRefused(ObservatoryError):
    """A URL can not be taken, or leads where nothing may be sent; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart.

    Attributes:
        scheme: ``http`` or ``https``.
        host: A name or an address, in lower case, an IPv6 address without brackets.
        port: From 1 to 65535.
        path: What is asked for: path and query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be logged of the URL: path and query may be secret."""
        return f"{self.scheme}://{self.authority}"


def parse_url(url: str) -> Target:
    """Return a URL taken apart.

    Raises:
        UrlRefused: It is not one of http or https, without credentials and fragment.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise UrlRefused(f"Longer than {MAX_URL_CHARACTERS} characters.")
    if "#" in url:
        raise UrlRefused("Takes no fragment (#).")
    if not _URL.fullmatch(url):
        raise UrlRefused("Takes visible ASCII characters; percent-encode others.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UrlRefused("Takes a URL such as https://example.org/hook.") from None
    if parts.scheme not in _PORTS or not parts.netloc:
        raise UrlRefused("Takes a URL that begins with http:// or https://.")
    if "@" in parts.netloc:
        raise UrlRefused("Takes no user name or password; the signature tells who sends.")
    host = (parts.hostname or "").lower()
    is_bracketed = parts.netloc.startswith("[")
    if is_bracketed and not _BRACKETED.fullmatch(parts.netloc):
        # Later versions of Python refuse it themselves.
        raise UrlRefused("Takes nothing but a port behind an address in brackets.")
    if port == 0 or not _is_host(host, is_bracketed=is_bracketed):
        raise UrlRefused("Takes a host name or an address, and a port from 1 to 65535.")
    path = parts.path or "/"
    if parts.query or url.endswith("?"):
        path += f"?{parts.query}"
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path)


def _is_host(host: str, *, is_bracketed: bool) -> bool:
    address = find_address(host)
    if address is not None:
        # A zone (%eth0) names a network of this machine.
        return (address.version == 6) == is_bracketed and "%" not in host
    last = host.rstrip(".").rpartition(".")[2]
    return not is_bracketed and bool(_NAME.fullmatch(host)) and not _NUMBER.fullmatch(last)


def find_address(host: str) -> Address | None:
    """Return the address that a host is, or ``None`` when it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def parse_networks(networks: Sequence[str]) -> tuple[Network, ...]:
    """Return networks, or single addresses, as they are set."""
    return tuple(map(ipaddress.ip_network, networks))


def is_permitted(address: Address, *, allowed: Sequence[Network] = ()) -> bool:
    """Tell whether something may be sent to an address.

    Args:
        address: Where to.
        allowed: Networks that are allowed though they are not public.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        # The system sends what is for these over IPv4.
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    inner = _find_inner(address)
    if inner is not None and not is_permitted(inner, allowed=allowed):
        return False
    if address in _NAT64:
        return True
    return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)


def _find_inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that a gateway would send on to, or ``None``."""
    number = int(address)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    if address in _NAT64 or number >> 32 & 0xFFFFFFFF in _ISATAP:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


def check_literal(target: Target, *, allowed: Sequence[Network] = ()) -> None:
    """Return quietly unless it can be told without asking anybody that a target is refused.

    Raises:
        UrlRefused: It is an address that is refused, or a name of this machine.
    """
    host = target.host.rstrip(".")
    is_local = host == "localhost" or host.endswith(".localhost")
    address = find_address("127.0.0.1" if is_local else host)
    if address is not None and not is_permitted(address, allowed=allowed):
        raise UrlRefused(
            "Takes an address of the public Internet; WEBHOOK_ALLOWED_NETWORKS can allow others."
        )


def follow(target: Target, location: str) -> Target:
    """Return where a redirect leads.

    Raises:
        UrlRefused: It can not be taken, or leads from https to http.
    """
    if not location or len(location) > MAX_URL_CHARACTERS:
        raise UrlRefused("Leads nowhere.")
    try:
        url = urljoin(target.origin + target.path, location)
    except ValueError:
        raise UrlRefused("Leads nowhere.") from None
    found = parse_url(url.partition("#")[0])
    if target.scheme == "https" and found.scheme != "https":
        raise UrlRefused("Leads from https to http.")
    return found
