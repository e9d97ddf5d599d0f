"""Which URLs can be taken, and which addresses nothing is sent to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.webhooks.addresses import (
    UrlRefused,
    check_literal,
    follow,
    is_permitted,
    parse_networks,
    parse_url,
)

PRIVATE_V4 = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.1.2",
    "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192",
    "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.7", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
)  # fmt: skip
PRIVATE_V6 = (
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1",
    "100::1", "2001:db8::1", "2001::1", "2001:10::1", "2001:20::1", "3fff::1", "5f00::1",
    "64:ff9b:1::808:808", "::8.8.8.8", "4000::1",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255",
    "100.128.0.1", "192.167.1.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1",
    "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1",
)  # fmt: skip
v4 = st.ip_addresses(v=4)


def forms(address: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """Return the IPv6 addresses behind which an IPv4 address can be."""
    number = int(address)
    teredo = 0x20010000 << 96 | number << 64 | number ^ 0xFFFFFFFF
    return [
        ipaddress.IPv6Address(value)
        for value in (
            0xFFFF << 32 | number,
            number,
            0x2002 << 112 | number << 80 | 1,
            0x0064FF9B << 96 | number,
            0x0064FF9B0001 << 80 | number,
            teredo,
            0x20010DB7 << 96 | 0x5EFE << 32 | number,
            0x20010DB7 << 96 | 0x02005EFE << 32 | number,
        )
    ]


@pytest.mark.parametrize("address", [*PRIVATE_V4, *PRIVATE_V6])
def test_what_is_not_public_is_refused(address):
    assert not is_permitted(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_permitted(address):
    assert is_permitted(ipaddress.ip_address(address))


@given(v4)
def test_nothing_that_python_knows_to_be_private_is_permitted(address):
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not is_permitted(address)


@given(v4 | st.sampled_from(PRIVATE_V4).map(ipaddress.IPv4Address))
def test_no_ipv6_address_hides_a_refused_one(address):
    if not is_permitted(address):
        assert not any(is_permitted(form) for form in forms(address))


@given(st.ip_addresses(v=6))
def test_nothing_outside_of_the_public_part_of_ipv6_is_permitted(address):
    is_gateway = address in ipaddress.ip_network("64:ff9b::/96") or address.ipv4_mapped
    if address not in ipaddress.ip_network("2000::/3") and not is_gateway:
        assert not is_permitted(address)


def test_networks_that_are_allowed_are_permitted_and_no_others():
    allowed = parse_networks(["127.0.0.0/8", "fd00::/8", "10.1.2.3"])
    for text in ("127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "10.1.2.3"):
        assert is_permitted(ipaddress.ip_address(text), allowed=allowed)
    for text in ("10.1.2.4", "::1", "169.254.169.254", "fe80::1"):
        assert not is_permitted(ipaddress.ip_address(text), allowed=allowed)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://example.org", "example.org", 443, "/", "example.org"),
        ("HTTP://Example.ORG:8080/a/b?c=d", "example.org", 8080, "/a/b?c=d", "example.org:8080"),
        ("http://example.org?x", "example.org", 80, "/?x", "example.org"),
        ("https://[2606:4700::1]:444/", "2606:4700::1", 444, "/", "[2606:4700::1]:444"),
        ("http://a_b.example.org.:80/", "a_b.example.org.", 80, "/", "a_b.example.org."),
        ("http://8.8.8.8/%20", "8.8.8.8", 80, "/%20", "8.8.8.8"),
    ],
)
def test_a_url_is_taken_apart(url, host, port, path, authority):
    target = parse_url(url)
    assert (target.host, target.port, target.path) == (host, port, path)
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "file:///etc/passwd", "//example.org/", "http://",
        "http:///x", "https:example.org", "http://user@example.org/", "http://u:p@example.org/",
        "http://@example.org/", "http://example.org/#x", "http://example.org/#",
        "http://example.org:0/", "http://example.org:65536/", "http://example.org:x/",
        "http://example.org/a b", "http://example.org/\r\nX: y", "http://exa\tmple.org/",
        "http://example.org\\@127.0.0.1/", "http://ex\u00e4mple.org/", "http://[::1", "http://[::1%25eth0]/",
        "http://[fe80::1%eth0]/", "http://[127.0.0.1]/", "http://[example.org]/", "http://::1/",
        "http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://0177.0.0.1/",
        "http://1.2.3.0x4/", "http://example.0x/", "http://1.2.3.4./", "http://a..b/", "http://.a/",
        "http://-/" + "x" * 2000, "http://" + "a" * 64 + ".org/", "javascript:alert(1)",
        "http://[2606:4700::1]x/", "http://[2606:4700::1].example.org/",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url):
    with pytest.raises(UrlRefused):
        parse_url(url)


@given(st.text(max_size=60) | st.text(max_size=60).map("http://".__add__))
def test_any_text_is_a_url_or_refused(text):
    try:
        target = parse_url(text)
    except UrlRefused:
        return
    request = f"{target.path} {target.authority}"
    assert request.isascii() and request.isprintable() and request.count(" ") == 1
    assert 1 <= target.port <= 65535


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://LOCALHOST.:8080/", "http://a.localhost/",
     "http://[::1]/", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/"],
)  # fmt: skip
def test_what_can_be_told_at_once_is_refused_at_once(url):
    with pytest.raises(UrlRefused, match="WEBHOOK_ALLOWED_NETWORKS"):
        check_literal(parse_url(url))


def test_what_is_allowed_or_takes_a_look_is_not():
    check_literal(parse_url("http://localhost/"), allowed=parse_networks(["127.0.0.0/8"]))
    check_literal(parse_url("http://example.org/"))


@pytest.mark.parametrize(
    ("url", "location", "found"),
    [
        ("http://a.org/x/y?z", "/w", "http://a.org/w"),
        ("http://a.org/x/y?z", "w?v", "http://a.org/x/w?v"),
        ("http://a.org/", "https://b.org/c#d", "https://b.org/c"),
        ("https://a.org:444/", "//b.org/", "https://b.org/"),
    ],
)
def test_a_redirect_leads_on(url, location, found):
    assert follow(parse_url(url), location) == parse_url(found)


@pytest.mark.parametrize(
    "location", ["", "http://a.org/", "ftp://a.org/", "https://u@a.org/", "http://[", "x" * 3000]
)
def test_a_redirect_does_not_lead_anywhere(location):
    with pytest.raises(UrlRefused):
        follow(parse_url("https://a.org/"), location)
