"""Requests that a client may send again: the first answer is kept for a day.

Key and answer are written in the transaction of the change, so that after a crash either both are
there or neither.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from observatory.errors import Conflict
from observatory.store.database import execute, fetch_one
from observatory.timestamps import format_timestamp, now

KEPT_FOR = timedelta(hours=24)


def find_answer(
    key: str, *, sender: str | None, path: str, body_hash: bytes
) -> tuple[int, str] | None:
    """Return status and data of the first answer to a request, or ``None`` when it is new.

    Args:
        key: As the client chose it.
        sender: Who sent it, if that is known: others' keys are others.
        path: Method and path.
        body_hash: Tells whether it is the same request.

    Raises:
        Conflict: The key came before with another body.
    """
    row = fetch_one(
        "SELECT status, data, body_hash FROM idempotency_keys"
        " WHERE id = ? AND path = ? AND created_at > ?",
        (_name(key, sender), path, format_timestamp(datetime.now(UTC) - KEPT_FOR)),
    )
    if row is None:
        return None
    status, data, known_hash = row
    if bytes(known_hash) != body_hash:
        raise Conflict(
            "This Idempotency-Key came before with another body; use a new key for a new request."
        )
    return status, data


def insert_answer(
    key: str, *, sender: str | None, path: str, body_hash: bytes, status: int, data: str
) -> None:
    """Keep the answer to a request, and forget those that are older than a day."""
    limit = format_timestamp(datetime.now(UTC) - KEPT_FOR)
    execute("DELETE FROM idempotency_keys WHERE created_at <= ?", (limit,))
    execute(
        "INSERT INTO idempotency_keys (id, path, body_hash, status, data, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (_name(key, sender), path, body_hash, status, data, now()),
    )


def _name(key: str, sender: str | None) -> str:
    # There is no space in a key.
    return key if sender is None else f"{sender} {key}"


def forget_answers_about(conversation_id: str) -> None:
    """Forget the answers that tell of a conversation, by their address or by what they hold."""
    execute(
        "DELETE FROM idempotency_keys WHERE instr(path || '/', '/api/conversations/' || ?1 || '/')"
        " OR ?1 IN (json_extract(data, '$.id'), json_extract(data, '$.conversation_id'))",
        (conversation_id,),
    )
