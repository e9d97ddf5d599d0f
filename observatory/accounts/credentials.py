"""Opaque credentials: random texts of which only a hash is kept.

They have 192 bits or more of the system's randomness, so a fast hash is enough: nobody can try them
all, as one can with passwords.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

KEY_PREFIX = "obs_"
_REFRESH_PREFIX = "obr_"
_SHOWN_CHARACTERS = 10


class SessionToken(NamedTuple):
    """A refresh token or the value of a cookie: ``selector`` finds the session, then the secret."""

    selector: str
    secret: str

    @property
    def text(self) -> str:
        """The token as the client keeps it."""
        return f"{_REFRESH_PREFIX}{self.selector}.{self.secret}"


def make_key() -> str:
    """Return a new API key."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def shown_part(key: str) -> str:
    """Return the beginning of a key, by which its owner knows it again."""
    return key[:_SHOWN_CHARACTERS]


def make_one_time_token() -> str:
    """Return a new token for a link or for the first account."""
    return secrets.token_urlsafe(32)


def make_session_token(selector: str | None = None) -> SessionToken:
    """Return a new token, of a new session or the next one of a session that has a selector."""
    return SessionToken(selector or secrets.token_urlsafe(16), secrets.token_urlsafe(32))


def parse_session_token(text: str) -> SessionToken | None:
    """Return the parts of a token, or ``None`` when it can not be one."""
    if not text.startswith(_REFRESH_PREFIX) or len(text) > 100 or not text.isascii():
        return None
    selector, _, secret = text.removeprefix(_REFRESH_PREFIX).partition(".")
    return SessionToken(selector, secret) if selector and secret else None


def hash_secret(text: str) -> bytes:
    """Return what is kept of a credential."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def is_secret(text: str, known_hash: bytes) -> bool:
    """Tell whether a credential is the one that a hash was kept of."""
    return compare_digest(hash_secret(text), bytes(known_hash))
