"""The limit of requests: for whom it holds, and what is told of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import webtest

from observatory.accounts.credentials import hash_secret, make_key
from observatory.api.request_limits import find_household
from observatory.app import create_app
from observatory.rate_limits import Limits
from observatory.store.api_keys import insert_key
from observatory.window_counts import SharedWindows
from tests.api.asking import check_refusal
from tests.api.described import DescribedApp

NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
REMOTE = "203.0.113.9"


class Clock:
    """A clock that stands until it is moved."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(db, clock) -> Any:
    """Makes a client of an application that takes three requests a minute of each address."""

    def client(**options: Any) -> webtest.TestApp:
        limits = Limits(SharedWindows(sets=4, clock=clock))
        options = {"max_requests": 3, "rate_window_ms": 60_000, **options}
        app = create_app(cors_origins=(), folders=(), limits=limits, **options)
        return DescribedApp(app, lint=True)

    return client


def new_key() -> str:
    """Return a key that nobody has used."""
    key = make_key()
    insert_key(
        name="one", key_hash=hash_secret(key), prefix=key[:12], scopes=["admin"],
        project_keys=None, user_key=None, expires_at=None,
    )  # fmt: skip
    return key


def ask(
    client: webtest.TestApp,
    path: str = "/api/projects",
    *,
    peer: str = REMOTE,
    key: str | None = None,
    **headers: str,
) -> webtest.TestResponse:
    """Ask from an address, as somebody who never asked before unless a key is given."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Authorization"] = f"Bearer {key or new_key()}"
    environ = {"REMOTE_ADDR": peer}
    return client.get(path, headers=named, extra_environ=environ, expect_errors=True)


def told(answer: webtest.TestResponse) -> list[str]:
    """Return which headers about the limit an answer has."""
    return [name for name in NAMES if name in answer.headers]


def statuses(client: webtest.TestApp, number: int = 4, **asked: str) -> list[int]:
    return [ask(client, **asked).status_int for _ in range(number)]


def test_too_many_are_refused_and_told_when_to_come_again(make, clock):
    client = make()
    for remaining in ("2", "1", "0"):
        before = time.time()
        answer = ask(client)
        assert answer.status_int == 200
        assert [answer.headers[name] for name in NAMES[:2]] == ["3", remaining]
        assert before + 60 <= int(answer.headers[NAMES[2]]) <= time.time() + 62
    answer = ask(client)
    check_refusal(answer, 429, "RATE_LIMITED")
    assert [answer.headers[name] for name in NAMES[:2]] == ["3", "0"]
    clock.now += int(answer.headers["Retry-After"])
    assert statuses(client) == [200, 200, 200, 429]


def test_refusals_have_the_headers_of_every_answer(make):
    client = make()
    statuses(client)
    headers = ask(client).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-ID"]
    assert "ETag" not in headers


def test_every_answer_below_api_tells_the_limit(make):
    client = make(max_requests=100)
    for path in ("/api/projects", "/api/nothing", "/api/files/x", "/api/projects?limit=0"):
        assert told(ask(client, path)) == list(NAMES)
    tag = ask(client).headers["ETag"]
    assert told(ask(client, If_None_Match=tag)) == list(NAMES)
    environ = {"REMOTE_ADDR": REMOTE}
    for answer in (
        client.post("/api/projects", extra_environ=environ, status=405),
        client.options("/api/projects", extra_environ=environ),
        client.head("/api/projects", extra_environ=environ),
        ask(client, Host="evil.example"),
    ):
        assert told(answer) == list(NAMES)
    assert ask(client).headers["X-RateLimit-Remaining"] == "89"


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics", "/", "/docs"])
def test_other_addresses_are_not_limited(make, path):
    client = make()
    for _ in range(5):
        answer = ask(client, path)
        assert answer.status_int == 200
        assert told(answer) == []
    assert statuses(client) == [200, 200, 200, 429]


def test_slashes_at_the_beginning_are_no_way_around(make):
    client = make()
    asked = [ask(client, path) for path in ("/%2fapi/projects", "/api/projects", "/%2f%2fapi")]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in asked] == ["2", "1", "0"]
    assert asked[0].headers["ETag"]
    check_refusal(ask(client, "/%2fapi/projects"), 429, "RATE_LIMITED")


def test_addresses_are_counted_apart(make):
    client = make()
    assert statuses(client) == [200, 200, 200, 429]
    assert statuses(client, peer="203.0.113.10") == [200, 200, 200, 429]


def test_a_network_of_ipv6_counts_as_one(make):
    client = make()
    found = [ask(client, peer=f"2001:db8::{number:x}").status_int for number in range(4)]
    assert found == [200, 200, 200, 429]
    assert ask(client, peer="2001:db8:0:1::1").status_int == 200


@pytest.mark.parametrize(
    ("address", "household"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_is_counted_for_an_address(address, household):
    assert find_household(address) == household


# This machine, and proxies


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_programs_of_this_machine_are_not_limited(make, peer):
    client = make()
    answers = [ask(client, peer=peer) for _ in range(5)]
    assert {answer.status_int for answer in answers} == {200}
    assert told(answers[0]) == []


def test_programs_of_this_machine_are_limited_when_asked_for(make):
    assert statuses(make(limits_loopback=True), peer="127.0.0.1") == [200, 200, 200, 429]


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "Via"])
def test_who_comes_through_a_proxy_that_is_not_trusted_is_limited(make, header):
    assert statuses(make(), peer="127.0.0.1", **{header: "127.0.0.1"}) == [200, 200, 200, 429]


def test_invented_addresses_do_not_help(make):
    client = make()
    found = [ask(client, X_Forwarded_For=f"198.51.100.{n}").status_int for n in range(4)]
    assert found == [200, 200, 200, 429]


def test_invented_addresses_before_a_trusted_proxy_do_not_help(make):
    client = make(trusted_proxies=("127.0.0.1",))
    found = [
        ask(client, peer="127.0.0.1", X_Forwarded_For=f"198.51.100.{n}, {REMOTE}").status_int
        for n in range(4)
    ]
    assert found == [200, 200, 200, 429]
    for invented in ("127.0.0.1", "::1", "127.0.0.1, 127.0.0.1"):
        forwarded = f"{invented}, {REMOTE}"
        assert ask(client, peer="127.0.0.1", X_Forwarded_For=forwarded).status_int == 429


def test_a_trusted_proxys_clients_are_counted_apart(make):
    client = make(trusted_proxies=("127.0.0.1",))
    assert statuses(client, peer="127.0.0.1", X_Forwarded_For=REMOTE) == [200, 200, 200, 429]
    assert ask(client, peer="127.0.0.1", X_Forwarded_For="203.0.113.10").status_int == 200


def test_no_limit_holds_when_it_is_switched_off(make):
    client = make(max_requests=0)
    assert statuses(client, 10) == [200] * 10
    assert told(ask(client)) == []


# Who signed in


def test_who_signed_in_is_limited_wherever_they_ask_from(make):
    client, key = make(), new_key()
    found = [ask(client, peer=f"203.0.113.{n}", key=key).status_int for n in range(4)]
    assert found == [200, 200, 200, 429]
    answer = ask(client, peer="203.0.113.77", key=key)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert ask(client, peer="203.0.113.78").status_int == 200


def test_wrong_credentials_are_counted_for_the_address(make):
    client = make()
    found = [ask(client, key="obk_wrong").status_int for _ in range(4)]
    assert found == [401, 401, 401, 429]


def test_the_form_to_sign_in_is_limited_like_the_api(make):
    client = make()
    found = [ask(client, "/login").status_int for _ in range(4)]
    assert found == [303, 303, 303, 429]
