"""Sign-ins that hold: by a line of refresh tokens or by a cookie."""

from __future__ import annotations

from typing import NamedTuple

from observatory.store.database import execute, fetch_one, writing
from observatory.store.users import COLUMNS, User, make_user
from observatory.timestamps import now

# Of one account; who signs in for every request would else leave rows without end.
_MAX_SESSIONS = 100


class Session(NamedTuple):
    """A sign-in that has not ended; ``user`` is ``None`` for who runs the server."""

    key: int
    kind: str
    secret_hash: bytes
    expires_at: str
    user: User | None


def insert_session(
    *, user_key: int | None, kind: str, selector: str, secret_hash: bytes, expires_at: str
) -> int:
    """Insert a sign-in and return its key; those that have ended go, and the oldest of very many.

    Args:
        user_key: Whose it is; ``None`` for who runs the server.
        kind: ``token`` or ``cookie``.
        selector: What the credential names it by.
        secret_hash: The hash of the credential's secret.
        expires_at: When it ends by itself.
    """
    with writing(moves=None):
        execute("DELETE FROM sessions WHERE expires_at <= ?", (now(),))
        row = fetch_one(
            "INSERT INTO sessions (user_key, kind, selector, secret_hash, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING key",
            (user_key, kind, selector, secret_hash, now(), expires_at),
        )
        execute(
            "DELETE FROM sessions WHERE user_key IS ?1 AND key <= (SELECT key FROM sessions"
            f" WHERE user_key IS ?1 ORDER BY key DESC LIMIT 1 OFFSET {_MAX_SESSIONS})",
            (user_key,),
        )
    assert row is not None
    return int(row[0])


_SESSION = (
    f"SELECT s.key, s.kind, s.secret_hash, s.expires_at, s.user_key IS NULL, {COLUMNS}"
    " FROM sessions s LEFT JOIN users u ON u.key = s.user_key"
    " WHERE s.expires_at > ? AND (s.user_key IS NULL OR NOT u.is_disabled) AND "
)


def find_session(selector: str) -> Session | None:
    """Return the sign-in that a credential names, or ``None`` when there is none that holds."""
    return _find("s.selector = ?", selector)


def find_session_by_key(key: int) -> Session | None:
    """Return a sign-in, or ``None`` when it does not hold any more."""
    return _find("s.key = ?", key)


def _find(condition: str, value: str | int) -> Session | None:
    row = fetch_one(_SESSION + condition, (now(), value))
    if row is None:
        return None
    key, kind, secret_hash, expires_at, is_operator, *user = row
    return Session(
        key, kind, bytes(secret_hash), expires_at, None if is_operator else make_user(tuple(user))
    )


def rotate_session(key: int, *, old_hash: bytes, new_hash: bytes, expires_at: str) -> bool:
    """Give a sign-in its next secret; return whether the old one was still its own."""
    with writing(moves=None):
        changed = execute(
            "UPDATE sessions SET secret_hash = ?, expires_at = ? WHERE key = ? AND secret_hash = ?",
            (new_hash, expires_at, key, old_hash),
        )
    return changed == 1


def extend_session(key: int, *, expires_at: str) -> bool:
    """Let a sign-in hold for longer; return whether it was still there."""
    with writing(moves=None):
        changed = execute("UPDATE sessions SET expires_at = ? WHERE key = ?", (expires_at, key))
    return changed == 1


def delete_session(key: int) -> None:
    """End a sign-in."""
    with writing(moves="auth_revision"):
        execute("DELETE FROM sessions WHERE key = ?", (key,))


def delete_sessions_of(user_key: int | None) -> int:
    """End all sign-ins of an account, or of who runs the server; return how many there were."""
    with writing(moves="auth_revision"):
        return execute("DELETE FROM sessions WHERE user_key IS ?", (user_key,))


def expire_sign_ins(moment: str, *, limit: int) -> int:
    """Delete sign-ins that ended before a time, inside a transaction; return how many."""
    return execute(
        "DELETE FROM sessions WHERE key IN"
        " (SELECT key FROM sessions WHERE expires_at <= ? LIMIT ?)",
        (moment, limit),
    )
