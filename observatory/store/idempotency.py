"""Requests that a client may send again: the first answer is kept for a day.

Key and answer are written in the transaction of the change, so that after a crash either both are
there or neither.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from observatory.errors import Conflict
from observatory.store.database import execute, fetch_one
from observatory.store.scopes import Scope
from observatory.timestamps import format_timestamp, now

KEPT_FOR = timedelta(hours=24)
# The conversation that an answer holds, or whose message it holds.
_TOLD = "json_extract({data}, '$.id'), json_extract({data}, '$.conversation_id')"


def find_answer(
    key: str, *, sender: str | None, path: str, body_hash: bytes, scope: Scope
) -> tuple[int, str] | None:
    """Return status and data of the first answer to a request, or ``None`` when it is new.

    An answer that tells of a conversation which is not there any more for its sender is none: the
    request is refused as any other is then.

    Args:
        key: As the client chose it.
        sender: Who sent it, if that is known: others' keys are others.
        path: Method and path.
        body_hash: Tells whether it is the same request.
        scope: Whose conversations are there at all.

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
    return None if _is_hidden(path, data, scope) else (status, data)


def _is_hidden(path: str, data: str, scope: Scope) -> bool:
    """Tell whether an answer tells of a conversation that may not be seen."""
    if scope.is_whole:
        return False
    named = path.partition("/api/conversations/")[2].partition("/")[0]
    hidden = fetch_one(
        f"SELECT 1 FROM conversations c WHERE c.id IN (?1, {_TOLD.format(data='?2')})"
        f" AND (1{scope.and_there('c')}) IS NOT TRUE",
        (named, data),
    )
    return hidden is not None


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


def expire_answers(moment: datetime, *, limit: int) -> int:
    """Delete answers that are older than a day, inside a transaction; return how many."""
    return execute(
        "DELETE FROM idempotency_keys WHERE rowid IN"
        " (SELECT rowid FROM idempotency_keys WHERE created_at <= ? LIMIT ?)",
        (format_timestamp(moment - KEPT_FOR), limit),
    )


def _name(key: str, sender: str | None) -> str:
    # There is no space in a key.
    return key if sender is None else f"{sender} {key}"


def forget_answers_about(conversation_id: str) -> None:
    """Forget the answers that tell of a conversation, by their address or by what they hold.

    An answer about what started it tells of it, too.
    """
    execute(
        "DELETE FROM idempotency_keys WHERE instr(path || '/', '/api/conversations/' || ?1 || '/')"
        f" OR ?1 IN ({_TOLD.format(data='data')})"
        " OR EXISTS (SELECT 1 FROM json_each(data, '$.subagents') WHERE value ->> '$.id' = ?1)",
        (conversation_id,),
    )
