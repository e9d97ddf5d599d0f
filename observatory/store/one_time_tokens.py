"""Tokens that let somebody in once; only their hashes are kept."""

from __future__ import annotations

from observatory.store.database import execute, fetch_one, writing
from observatory.timestamps import now


def insert_one_time_token(token_hash: bytes, *, purpose: str, expires_at: str) -> None:
    """Keep a token until a time; of the purpose ``setup`` only the latest holds."""
    with writing(moves=None):
        execute(
            "DELETE FROM one_time_tokens WHERE expires_at <= ?"
            " OR (purpose = 'setup' AND purpose = ?)",
            (now(), purpose),
        )
        execute(
            "INSERT INTO one_time_tokens (hash, purpose, expires_at) VALUES (?, ?, ?)",
            (token_hash, purpose, expires_at),
        )


def has_one_time_token(token_hash: bytes, *, purpose: str) -> bool:
    """Tell whether there is a token, which may be too old, without using it up."""
    row = fetch_one(
        "SELECT 1 FROM one_time_tokens WHERE hash = ? AND purpose = ?", (token_hash, purpose)
    )
    return row is not None


def take_one_time_token(token_hash: bytes, *, purpose: str) -> bool:
    """Use a token up; return whether it held.

    In a transaction that is open it holds still when that fails.
    """
    with writing(moves=None):
        row = fetch_one(
            "DELETE FROM one_time_tokens WHERE hash = ? AND purpose = ? RETURNING expires_at",
            (token_hash, purpose),
        )
    return row is not None and row[0] > now()


def expire_tokens(moment: str, *, limit: int) -> int:
    """Delete tokens that ended before a time, inside a transaction; return how many."""
    return execute(
        "DELETE FROM one_time_tokens WHERE hash IN"
        " (SELECT hash FROM one_time_tokens WHERE expires_at <= ? LIMIT ?)",
        (moment, limit),
    )
