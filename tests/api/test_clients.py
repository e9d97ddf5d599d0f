"""Addresses of clients: whose word on them is believed."""

from __future__ import annotations

import pytest

from observatory.api.clients import Clients, is_of_this_machine

PROXIES = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


def find(peer: str, forwarded: str | None, *, trusted: tuple[str, ...] = PROXIES) -> str:
    env = {"REMOTE_ADDR": peer} | ({"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {})
    return Clients(trusted).find_address(env)


@pytest.mark.parametrize("forwarded", [None, "1.2.3.4", "127.0.0.1", "1.2.3.4, 10.0.0.1", ""])
def test_without_trusted_proxies_the_peer_counts(forwarded):
    assert find("203.0.113.9", forwarded, trusted=()) == "203.0.113.9"
    assert find("127.0.0.1", forwarded, trusted=()) == "127.0.0.1"


@pytest.mark.parametrize("forwarded", ["1.2.3.4", "127.0.0.1", "10.0.0.1", "203.0.113.1, 10.0.0.1"])
def test_others_than_trusted_proxies_are_not_believed(forwarded):
    assert find("203.0.113.9", forwarded) == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        # What stands before the last one that is no proxy was invented by the client.
        ("127.0.0.1, 1.2.3.4", "1.2.3.4"),
        ("9.9.9.9, 8.8.8.8, 1.2.3.4", "1.2.3.4"),
        ("10.1.1.1,9.9.9.9,1.2.3.4,10.0.0.2", "1.2.3.4"),
        ("1.2.3.4 , 10.0.0.2 , 10.0.0.1", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4, fd00::1", "1.2.3.4"),
        # All are proxies: the first of them asked by itself.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        # What can not be read is no address: the proxy before it stands for the client.
        ("1.2.3.4, unknown", "127.0.0.1"),
        ("1.2.3.4, unknown, 10.0.0.7", "10.0.0.7"),
        ("<script>", "127.0.0.1"),
        ("", "127.0.0.1"),
        (",", "127.0.0.1"),
        ("1.2.3.4\udce9", "127.0.0.1"),
        ("1" * 10_000, "127.0.0.1"),
        ("," * 10_000 + "1.2.3.4", "1.2.3.4"),
    ],
)
def test_a_trusted_proxy_tells_the_address(forwarded, address):
    assert find("127.0.0.1", forwarded) == address
    # Over a Unix socket a peer has no address.
    assert find("", forwarded) == address


@pytest.mark.parametrize("trusted", [(), PROXIES])
def test_ipv4_is_told_alike_by_sockets_of_both_families(trusted):
    assert find("::ffff:192.0.2.1", None, trusted=trusted) == "192.0.2.1"


def test_a_long_row_of_proxies_ends_somewhere():
    assert find("127.0.0.1", "1.2.3.4," + ",".join(["10.0.0.1"] * 100)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "proto", "is_tls"),
    [
        ("127.0.0.1", "https", True),
        ("127.0.0.1", "HTTPS", True),
        ("127.0.0.1", "http, https", True),
        ("127.0.0.1", "https, http", False),
        ("127.0.0.1", "http", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", None, False),
        ("203.0.113.9", "https", False),
    ],
)
def test_a_trusted_proxy_tells_of_tls(peer, proto, is_tls):
    env = {"REMOTE_ADDR": peer} | ({} if proto is None else {"HTTP_X_FORWARDED_PROTO": proto})
    assert Clients(PROXIES).is_tls(env) is is_tls
    assert not Clients().is_tls(env)


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA"])
def test_who_comes_through_a_proxy_is_not_of_this_machine(header):
    assert is_of_this_machine({}, "127.0.0.1")
    assert is_of_this_machine({}, "::1")
    assert not is_of_this_machine({header: "127.0.0.1"}, "127.0.0.1")
    assert not is_of_this_machine({}, "203.0.113.9")
