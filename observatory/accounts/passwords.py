"""Passwords: what is taken for one, and how it is kept (Argon2id)."""

from __future__ import annotations

import unicodedata
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from observatory.errors import InvalidParameter

MIN_CHARACTERS = 8
MAX_CHARACTERS = 1024
_MIN_DIFFERENT = 4
# OWASP's recommendation: 19 MiB, two passes: 20 ms. One process checks two at once, so that a flood
# of sign-ins takes 38 MiB and leaves processors to others.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_at_once = BoundedSemaphore(2)


def check_new_password(password: str, *, email: str, field: str = "password") -> None:
    """Return quietly when a password can be taken.

    Raises:
        InvalidParameter: It is too short, too long, no text, or too easy to guess.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise InvalidParameter(field, f"Takes {MIN_CHARACTERS} to {MAX_CHARACTERS} characters.")
    if _normalize(password) is None:
        raise InvalidParameter(field, "Takes text that is valid Unicode.")
    lowered = password.casefold()
    if len(set(lowered)) < _MIN_DIFFERENT or lowered in (email, email.partition("@")[0]):
        raise InvalidParameter(field, "Too easy to guess: take one that nobody would try.")


def _normalize(password: str) -> bytes | None:
    """Return a password as it is hashed: what is typed alike on two keyboards is alike."""
    try:
        return unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:
        return None


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password that was checked, with its salt and parameters."""
    normalized = _normalize(password)
    assert normalized is not None
    with _at_once:
        return _hasher.hash(normalized)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(b"nobody has this password")


def prepare() -> None:
    """Make what the first sign-in needs, so that it takes no longer than others."""
    _nobodys_hash()


def is_password(password: str, password_hash: str | None) -> bool:
    """Tell whether a password is the one that was hashed.

    Args:
        password: What was typed, whatever it is.
        password_hash: Its hash; ``None`` for an account that does not exist, which takes as long.
    """
    normalized = _normalize(password[: MAX_CHARACTERS + 1])
    known = password_hash if normalized is not None and password_hash else _nobodys_hash()
    with _at_once:
        try:
            is_right = _hasher.verify(known, normalized or b"")
        except (VerificationError, InvalidHashError):
            return False
    return is_right and password_hash is not None and normalized is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether a hash is weaker than new ones are."""
    try:
        known = extract_parameters(password_hash)
    except InvalidHashError:
        return True
    return (
        known.type is not _hasher.type
        or known.time_cost < _hasher.time_cost
        or known.memory_cost < _hasher.memory_cost
        or known.hash_len < _hasher.hash_len
    )
