"""A sign-in by a cookie holds on while it is used, and no longer than its person wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import webtest

from observatory.accounts.credentials import SessionToken, hash_secret, make_session_token
from observatory.accounts.passwords import hash_password
from observatory.app import create_app
from observatory.store.database import fetch_one
from observatory.store.sessions import find_session, insert_session
from observatory.store.users import insert_user
from observatory.timestamps import format_timestamp
from tests.api.described import DescribedApp

PASSWORD = "a good long one"
NAME = "observatory-80"


@pytest.fixture
def visit(db) -> Any:
    """Makes a browser whose sign-in of a day ends in so many hours, and returns its cookie too."""

    def browser(hours: int) -> tuple[webtest.TestApp, SessionToken]:
        ada = insert_user(
            email="ada@example.org", name="", role="admin", password_hash=hash_password(PASSWORD)
        )
        token = make_session_token()
        insert_session(
            user_key=ada.key,
            kind="cookie",
            selector=token.selector,
            secret_hash=hash_secret(token.secret),
            expires_at=format_timestamp(datetime.now(UTC) + timedelta(hours=hours)),
        )
        client = DescribedApp(create_app(cors_origins=(), folders=()), lint=True)
        client.extra_environ = {"HTTP_ORIGIN": "http://localhost:80"}
        client.set_cookie(NAME, token.text)
        return client, token

    return browser


def cookies_of(answer: webtest.TestResponse) -> list[str]:
    """Return the values of the cookies that an answer sets."""
    set_cookies = answer.headers.getall("Set-Cookie")
    assert all(line.startswith(f"{NAME}=") for line in set_cookies)
    return [line.partition("=")[2].partition(";")[0].strip('"') for line in set_cookies]


@pytest.mark.parametrize("path", ["/", "/api/projects", "/api/auth/profile"])
def test_one_that_ends_soon_is_renewed_by_being_used(visit, path):
    client, token = visit(hours=11)
    before = find_session(token.selector)
    answer = client.get(path)
    assert cookies_of(answer) == [token.text]
    after = find_session(token.selector)
    assert before is not None and after is not None and after.expires_at > before.expires_at


@pytest.mark.parametrize("path", ["/", "/api/projects"])
def test_one_that_holds_for_long_is_left_as_it_is(visit, path):
    client, _ = visit(hours=13)
    assert cookies_of(client.get(path)) == []


def test_another_password_gives_another_cookie_and_it_stays(visit):
    client, token = visit(hours=11)
    body = {"current_password": PASSWORD, "new_password": "another good long one"}
    [cookie] = cookies_of(client.post_json("/api/auth/password", body))
    assert cookie != token.text
    assert find_session(token.selector) is None
    client.reset()
    client.set_cookie(NAME, cookie)
    assert client.get("/api/auth/profile").json["data"]["user"]["email"] == "ada@example.org"


@pytest.mark.parametrize("path", ["/logout", "/api/auth/logout"])
def test_signing_out_leaves_no_cookie(visit, path):
    client, _ = visit(hours=11)
    answer = client.post(path)
    assert cookies_of(answer) == [""]
    assert "expires=Thu, 01 Jan 1970" in answer.headers["Set-Cookie"]
    assert fetch_one("SELECT count(*) FROM sessions") == (0,)
