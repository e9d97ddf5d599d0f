"""Tool uses with their results: of a page of messages, and lists of a conversation's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from orjson import Fragment

from observatory.errors import NotFound
from observatory.store.conversations import find_key
from observatory.store.database import fetch_all, fetch_one
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.store.scopes import Scope
from observatory.timestamps import format_timestamp

# A tool that was started so long ago and never answered does not run any more: its client died.
ABANDONED_AFTER = timedelta(hours=24)

_COLUMNS = """
    t.tool_use_id, t.name, t.server, t.status, t.is_error, t.error_category, t.started_at,
    t.finished_at, t.execution_time_ms, t.reported_duration_ms, t.subagent_id, t.parameters,
    coalesce(t.result, r.content), r.id
"""
_JOINS = "LEFT JOIN messages r ON r.key = t.result_message_key"
_ORDER = "tool_uses"
_IS_ABANDONED = "t.status = 'running' AND t.started_at < :abandoned_before"
_CONDITIONS = {
    "name": "t.name = :name",
    "status": f"CASE WHEN {_IS_ABANDONED} THEN 'interrupted' ELSE t.status END = :status",
}


def shown_status(status: str, started_at: str | None) -> str:
    """Return the status of a tool use, which does not run for ever.

    It changes on the hour only, as the tags of answers do (api/etags.py).
    """
    if status != "running" or started_at is None:
        return status
    return "interrupted" if started_at < _abandoned_before() else status


def _abandoned_before() -> str:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return format_timestamp(hour - ABANDONED_AFTER)


def _tool_use(row: Sequence[Any], conversation_id: str, message_id: str | None) -> dict[str, Any]:
    return {
        "id": row[0],
        "conversation_id": conversation_id,
        "message_id": message_id,
        "result_message_id": row[13],
        "name": row[1],
        "server": row[2],
        "status": shown_status(row[3], row[6]),
        "is_error": bool(row[4]),
        "error_category": row[5],
        "parameters": None if row[11] is None else Fragment(row[11]),
        "result": row[12],
        "started_at": row[6],
        "finished_at": row[7],
        "execution_time_ms": row[8],
        "reported_duration_ms": row[9],
        "subagent_id": row[10],
    }


def find_hidden_texts(message_keys: Iterable[int | None], *, scope: Scope) -> set[int]:
    """Return those messages whose text stands in no conversation that is there, copies included.

    A tool use may have its result from another conversation: one was copied from the other while
    the tool ran.
    """
    wanted = {key for key in message_keys if key is not None}
    if not wanted:
        return set()
    there = (
        "SELECT m.{key} FROM messages m JOIN conversations c ON c.key = m.conversation_key"
        f" WHERE m.{{key}} IN (SELECT value FROM json_each(?1)){scope.and_there('c')}"
    )
    found = fetch_all(
        f"{there.format(key='key')} UNION {there.format(key='copy_of_key')}",
        (orjson.dumps(list(wanted)).decode(),),
    )
    return wanted - {key for (key,) in found}


def _find_hidden_results(conversation_key: int, scope: Scope) -> set[int]:
    """Return the tool uses of a conversation whose results are not there."""
    rows = fetch_all(
        "SELECT t.key, r.key FROM tool_uses t JOIN messages r ON r.key = t.result_message_key"
        " WHERE t.conversation_key = ?1 AND r.conversation_key <> ?1",
        (conversation_key,),
    )
    hidden = find_hidden_texts((result for _, result in rows), scope=scope)
    return {use for use, result in rows if result in hidden}


def _without_result(use: dict[str, Any]) -> dict[str, Any]:
    """Return a tool use as if it never had an answer."""
    unknown = ("result", "result_message_id", "finished_at", "error_category")
    times = ("execution_time_ms", "reported_duration_ms")
    return {
        **use,
        **dict.fromkeys((*unknown, *times)),
        "status": "interrupted",
        "is_error": False,
    }


def list_tool_uses(
    conversation_id: str,
    *,
    scope: Scope,
    name: str | None = None,
    status: str | None = None,
    limit: int = 50,
    offset: int = 0,
    cursor: str | None = None,
) -> Page:
    """Return one page of the tool uses of a conversation, in transcript order.

    Args:
        conversation_id: The conversation.
        scope: Whose conversations are there at all.
        name: Only uses of the tool of this name.
        status: Only uses that are shown with this status.
        limit: Largest number of rows, 1 to 100.
        offset: How many rows to pass over; 0 with a cursor.
        cursor: The place after which to go on.

    Raises:
        NotFound: There is no such conversation.
        InvalidParameter: The cursor is not from this list.
    """
    conversation_key = find_key(conversation_id, scope=scope)
    if conversation_key is None:
        raise NotFound("conversation", conversation_id)
    filters = {"name": name, "status": status}
    parameters = {key: value for key, value in filters.items() if value is not None}
    conditions = ["t.conversation_key = :conversation", "t.message_key IS NOT NULL"]
    conditions += [_CONDITIONS[key] for key in parameters]
    hidden = set() if scope.is_whole else _find_hidden_results(conversation_key, scope)
    if hidden and status is not None:
        listed = ",".join(map(str, hidden))
        conditions[-1] = (
            f"CASE WHEN t.key IN ({listed}) THEN :status = 'interrupted' ELSE {conditions[-1]} END"
        )
    after = -1
    if cursor is not None:
        (after,) = decode_cursor(cursor, order=_ORDER, types=(int,))
    values = {**parameters, "conversation": conversation_key}
    if status is not None:
        values["abandoned_before"] = _abandoned_before()
    where = " AND ".join(conditions)
    counting = f"SELECT count(*) FROM tool_uses t WHERE {where}"
    if not parameters:
        counting = "SELECT tool_use_count FROM conversations WHERE key = :conversation"
    counted = fetch_one(counting, values)
    rows = fetch_all(
        f"SELECT t.key, m.id, {_COLUMNS} FROM tool_uses t {_JOINS}"
        f" JOIN messages m ON m.key = t.message_key WHERE {where} AND t.key > :after"
        " ORDER BY t.key LIMIT +:limit OFFSET :offset",
        {**values, "after": after, "limit": limit + 1, "offset": offset},
    )
    return make_page(
        [
            _without_result(use) if row[0] in hidden else use
            for row in rows
            for use in (_tool_use(row[2:], conversation_id, row[1]),)
        ],
        [(row[0],) for row in rows],
        order=_ORDER,
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
    )
