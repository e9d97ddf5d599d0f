"""A whole conversation, read piece by piece: pages whose text stays below a bound.

No transaction is held over an export: each piece is a short read of its own, and goes on where
the last one ended. What is written meanwhile at the end is read too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from observatory.store.conversations import find_key, get_conversation
from observatory.store.database import connect, fetch_all
from observatory.store.messages import list_messages
from observatory.store.pages import decode_cursor
from observatory.store.scopes import Scope

PIECE_CHARACTERS = 256 * 1024
_MESSAGES_AT_ONCE = 200
# A text that is stored once, in the message of a tool's result, is shown with the tool's use too.
_SIZES = """
    SELECT length(coalesce(o.content, m.content))
        + coalesce(length(coalesce(o.blocks, m.blocks)), 0)
        + coalesce((
            SELECT sum(coalesce(length(t.parameters), 0) + coalesce(length(t.result),
                (SELECT length(r.content) FROM messages r WHERE r.key = t.result_message_key), 0))
            FROM tool_uses t WHERE t.message_key = coalesce(m.copy_of_key, m.key)), 0)
    FROM messages m LEFT JOIN messages o ON o.key = m.copy_of_key
    WHERE m.conversation_key = ? AND (m.position, m.key) > (?, ?)
    ORDER BY m.position, m.key LIMIT +?
"""


def read_conversation(conversation_id: str, *, scope: Scope) -> dict[str, Any]:
    """Return one conversation as the API shows it.

    Raises:
        NotFound: There is none, or it is in the trash.
    """
    found = get_conversation(conversation_id, scope=scope)
    document: dict[str, Any] = orjson.loads(orjson.dumps(found))
    return document


def read_messages(conversation_id: str, *, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the messages of a conversation as the API shows them, in transcript order.

    Raises:
        NotFound: There is no such conversation, or no longer.
    """
    cursor: str | None = None
    while True:
        connect()
        for length in _read_runs(conversation_id, cursor, scope):
            page = list_messages(conversation_id, scope=scope, limit=length, cursor=cursor)
            yield from page.rows
            cursor = page.next_cursor
            if cursor is None:
                return


def _read_runs(conversation_id: str, cursor: str | None, scope: Scope) -> list[int]:
    """Return how many messages make each of the next pieces; one message is one at least."""
    position, key = (-1, -1) if cursor is None else decode_cursor(
        cursor, order="messages", types=(int, int)
    )  # fmt: skip
    conversation_key = find_key(conversation_id, scope=scope)
    sizes = fetch_all(_SIZES, (conversation_key, position, key, _MESSAGES_AT_ONCE))
    runs = [0]
    characters = 0
    for (size,) in sizes:
        if runs[-1] and characters + size > PIECE_CHARACTERS:
            runs.append(0)
            characters = 0
        runs[-1] += 1
        characters += size
    return [max(1, run) for run in runs]
