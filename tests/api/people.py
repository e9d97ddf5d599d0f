"""People with accounts, signed in; made without the API, so that a test begins with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import webtest

from observatory.accounts.credentials import hash_secret, make_key, shown_part
from observatory.accounts.passwords import hash_password
from observatory.store import api_keys, users
from tests.api.keyed import SHORT_STREAMS

PASSWORD = "a good long password"


@cache
def _hash() -> str:
    return hash_password(PASSWORD)


@dataclass(slots=True)
class Person:
    """An account and the tokens of one sign-in."""

    id: int
    email: str
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request by this person."""
        return {"Authorization": f"Bearer {self.access}"}


def add_user(email: str, role: str = "member", *, name: str = "") -> int:
    """Insert an account whose password is PASSWORD, and return its id."""
    return users.insert_user(email=email, name=name, role=role, password_hash=_hash()).key


def sign_in(client: webtest.TestApp, email: str, password: str = PASSWORD) -> Person:
    """Sign in with a password."""
    body = {"email": email, "password": password}
    data = client.post_json("/api/auth/login", body).json["data"]
    return Person(data["user"]["id"], email, data["access_token"], data["refresh_token"])


def make_person(client: webtest.TestApp, role: str = "member", *, email: str = "") -> Person:
    """Return somebody with an account of a role, signed in."""
    email = email or f"{role}@example.org"
    add_user(email, role)
    return sign_in(client, email)


def add_key(
    scopes: list[str],
    *,
    user_key: int | None = None,
    project_keys: list[int] | None = None,
    expires_at: str | None = None,
) -> tuple[int, str]:
    """Insert an API key, and return its id and the key."""
    text = make_key()
    key = api_keys.insert_key(
        name="a program",
        key_hash=hash_secret(text),
        prefix=shown_part(text),
        scopes=scopes,
        project_keys=project_keys,
        user_key=user_key,
        expires_at=expires_at,
    )
    return key.key, text


def bare(client: webtest.TestApp) -> webtest.TestApp:
    """Return a client of the same application that sends no credentials by itself."""
    return webtest.TestApp(client.app, lint=False, extra_environ=dict(SHORT_STREAMS))
