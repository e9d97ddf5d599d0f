"""Tickets: each stands for somebody's credentials in the address of one stream, and soon ends."""

from __future__ import annotations

from typing import NamedTuple

from observatory.store.database import execute, fetch_one, writing
from observatory.timestamps import now


class TicketHolder(NamedTuple):
    """Whose a ticket is: a sign-in's or an API key's."""

    session_key: int | None
    api_key_key: int | None


def insert_ticket(ticket_hash: bytes, holder: TicketHolder, *, expires_at: str) -> None:
    """Keep a ticket until a time; those that have ended go."""
    with writing(moves=None):
        execute("DELETE FROM stream_tickets WHERE expires_at <= ?", (now(),))
        execute(
            "INSERT INTO stream_tickets (hash, session_key, api_key_key, expires_at)"
            " VALUES (?, ?, ?, ?)",
            (ticket_hash, *holder, expires_at),
        )


def take_ticket(ticket_hash: bytes) -> TicketHolder | None:
    """Use a ticket up and return whose it was, or ``None`` when it does not hold."""
    # Strangers who guess do not get to hold up those who write.
    if fetch_one("SELECT 1 FROM stream_tickets WHERE hash = ?", (ticket_hash,)) is None:
        return None
    with writing(moves=None):
        row = fetch_one(
            "DELETE FROM stream_tickets WHERE hash = ?"
            " RETURNING session_key, api_key_key, expires_at",
            (ticket_hash,),
        )
    if row is None or row[2] <= now():
        return None
    return TicketHolder(row[0], row[1])


def expire_tickets(moment: str, *, limit: int) -> int:
    """Delete tickets that ended before a time, inside a transaction; return how many."""
    return execute(
        "DELETE FROM stream_tickets WHERE hash IN"
        " (SELECT hash FROM stream_tickets WHERE expires_at <= ? LIMIT ?)",
        (moment, limit),
    )
