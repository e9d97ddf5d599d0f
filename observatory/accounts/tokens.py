"""Access tokens: JSON Web Tokens that the server signs and nobody else."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from observatory.errors import Unauthorized

_ALGORITHM = "HS256"
_ISSUER = "claude-code-observatory"
_AUDIENCE = "claude-code-observatory-api"
_TYPE = "access"
_REQUIRED = ["exp", "iat", "sub", "jti", "iss", "aud", "typ", "sid", "user_id"]
MAX_CHARACTERS = 4096
# However long a sign-in holds, the token that is sent with each request holds no longer.
MAX_SECONDS = 15 * 60
_LEEWAY_SECONDS = 5
_REFUSED = "This token is none of this server's; sign in again."
_EXPIRED = "This access token has ended; get the next one with the refresh token."


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a token says that was found good: the user, the session, and its end in Unix time."""

    user_key: int
    session_key: int
    expires_at: float


def _key_id(secret: str) -> str:
    """Return the name of a secret, from which it can not be found out."""
    return sha256(b"observatory key id\n" + secret.encode()).hexdigest()[:16]


class Signer:
    """Signs with one secret, and takes what was signed with those before it too.

    Args:
        secret: The secret, 32 bytes or more.
        previous: The one before, taken until the tokens it signed have ended: who rotates a secret
            may do so because somebody else knows it.
        max_seconds: How long a token holds at most.
    """

    def __init__(
        self, secret: str, *, previous: str | None = None, max_seconds: int = MAX_SECONDS
    ) -> None:
        self._current = _key_id(secret)
        self._secrets = {self._current: secret}
        self._previous_until = time.time() + MAX_SECONDS
        if previous is not None:
            self._secrets.setdefault(_key_id(previous), previous)
        self.seconds = min(max_seconds, MAX_SECONDS)

    def sign(self, *, user_key: int, email: str, permissions: list[str], session_key: int) -> str:
        """Return a token for a user's session, which holds ``seconds``."""
        issued_at = int(time.time())
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "typ": _TYPE,
            "sub": str(user_key),
            "jti": secrets.token_urlsafe(12),
            "sid": session_key,
            "iat": issued_at,
            "exp": issued_at + self.seconds,
            "user_id": user_key,
            "email": email,
            "permissions": permissions,
        }
        return jwt.encode(
            claims,
            self._secrets[self._current],
            algorithm=_ALGORITHM,
            headers={"kid": self._current},
        )

    def read(self, token: str) -> AccessToken:
        """Return what a token says.

        What it says of permissions is for the client: they are looked up anew.

        Raises:
            Unauthorized: It is none of ours, or has ended.
        """
        if len(token) > MAX_CHARACTERS or not token.isascii():
            raise Unauthorized(_REFUSED, reason="token")
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            secret = self._secrets.get(key_id) if isinstance(key_id, str) else None
            if secret is None or (key_id != self._current and time.time() > self._previous_until):
                raise Unauthorized(_REFUSED, reason="token")
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                leeway=0,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized(_EXPIRED, is_expired=True) from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthorized(_REFUSED, reason="token") from error
        user_key, session_key = claims["user_id"], claims["sid"]
        if (
            claims["typ"] != _TYPE
            or type(user_key) is not int
            or type(session_key) is not int
            or type(claims["exp"]) is not int
            or claims["sub"] != str(user_key)
            or claims["exp"] > time.time() + MAX_SECONDS + _LEEWAY_SECONDS
        ):
            raise Unauthorized(_REFUSED, reason="token")
        return AccessToken(user_key, session_key, claims["exp"])
