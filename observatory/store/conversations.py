"""Conversations: lists and single ones.

The SQL is written by hand and made once per combination of filters: compiling a query costs more
than running it (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from orjson import Fragment

from observatory.errors import NotFound
from observatory.store.conversation_documents import UNTITLED, cost, join_documents
from observatory.store.database import fetch_all, fetch_one
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.store.scopes import Scope
from observatory.store.search_language import matching_query
from observatory.store.search_parts import list_parts

SORT_COLUMNS = {
    "title": (str, "conversations_by_title"),
    "created_at": (str, "conversations_by_start"),
    "updated_at": (str, "conversations_by_update"),
    "message_count": (int, "conversations_by_messages"),
    "total_tokens": (int, "conversations_by_tokens"),
}


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations to list; ``None`` does not filter.

    ``date_from`` and ``date_to`` are times in the one text form; a conversation is in the range
    when it was active in it. ``search`` is words as typed into a search box, all of which must
    stand in the title or together in one message.
    """

    search: str | None = None
    project_path: str | None = None
    date_from: str | None = None
    date_to: str | None = None
    model: str | None = None
    has_errors: bool | None = None
    kind: str | None = None
    parent_id: str | None = None
    tag: str | None = None
    deleted: bool | None = None


# What is being removed for good is in it no more.
IN_TRASH = (
    "c.deleted_at IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM deleted_conversations d WHERE d.id = c.id AND d.kind = c.kind)"
)
_CONDITIONS = {
    "search": (
        "(c.key IN (SELECT rowid FROM title_search WHERE title_search MATCH :search)"
        " OR c.key IN (SELECT value FROM json_each(:found)))"
    ),
    "project_path": "c.project_key = (SELECT key FROM projects WHERE path = :project_path)",
    "date_from": "c.updated_at >= :date_from",
    "date_to": "c.created_at <= :date_to",
    "model": "c.key IN (SELECT conversation_key FROM api_calls WHERE model = :model)",
    "has_errors": "(c.error_count > 0) = :has_errors",
    "kind": "c.kind = :kind",
    "parent_id": "c.parent_key = (SELECT key FROM conversations WHERE id = :parent_id)",
    "tag": "c.key IN (SELECT conversation_key FROM conversation_tags WHERE tag = :tag)",
}
# What has a text that matches, in one part of the index.
_FOUND = (
    "SELECT DISTINCT m.conversation_key FROM {table} s JOIN messages m ON m.key = s.rowid"
    " WHERE {table} MATCH :search"
)
# A text stands in its first conversation; where that is hidden, it is found in those with a copy.
_IN_COPIES = (
    " UNION SELECT k.conversation_key FROM {table} s"
    " CROSS JOIN messages k ON k.copy_of_key = s.rowid"
    " CROSS JOIN messages o ON o.key = s.rowid"
    " CROSS JOIN conversations d ON d.key = o.conversation_key"
    " WHERE {table} MATCH :search AND (1{there}) IS NOT TRUE"
)
_PLACE = ("limit", "offset", "after_value", "after_key")
# How many there are of the whole archive by these filters: numbers that are kept, or an index.
_COUNTS: dict[tuple[str, ...], str] = {
    (): "SELECT value FROM totals WHERE name = 'conversations'",
    ("project_path",): "SELECT conversation_count FROM projects WHERE path = :project_path",
    ("has_errors",): (
        "SELECT iif(:has_errors, failed, value - failed) FROM totals, (SELECT count(*) AS failed"
        " FROM conversations WHERE deleted_at IS NULL AND error_count > 0)"
        " WHERE name = 'conversations'"
    ),
}


@lru_cache(maxsize=1024)
def _statements(
    filters: tuple[str, ...], sort_by: str, descending: bool, after: bool, scope: Scope
) -> tuple[str, str]:
    """Return the SQL of a page and of the count for one combination of filters and one scope."""
    there = IN_TRASH if "deleted" in filters else "c.deleted_at IS NULL"
    if "nothing" in filters:
        there = "0"
        filters = ()
    given = (_CONDITIONS[name] for name in filters if name in _CONDITIONS)
    conditions = [there, *given]
    where = " WHERE " + " AND ".join(conditions)
    counting = f"SELECT count(*) FROM conversations c{where}{scope.and_among('c')}"
    if scope.is_whole and there == "c.deleted_at IS NULL":
        counting = _COUNTS.get(filters, counting)
    where += scope.and_there("c")
    if after:
        where += (
            f" AND (c.{sort_by}, c.key) {'<' if descending else '>'} (:after_value, :after_key)"
        )
    direction = "DESC" if descending else "ASC"
    page = (
        f"SELECT c.{sort_by}, c.key, c.document FROM conversations c{where}"
        f" ORDER BY c.{sort_by} {direction}, c.key {direction}"
        " LIMIT +:limit OFFSET :offset"
    )
    return page, counting


def list_conversations(
    wanted: ConversationFilter,
    *,
    scope: Scope,
    sort_by: str = "updated_at",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
    cursor: str | None = None,
) -> Page:
    """Return one page of conversations: of those not in the trash, or of those in it.

    Args:
        wanted: Which ones.
        scope: Whose conversations are there at all.
        sort_by: One of SORT_COLUMNS; equal ones follow in the order of their making.
        descending: Whether the largest or latest comes first.
        limit: Largest number of rows, 1 to 100.
        offset: How many rows to pass over; 0 with a cursor.
        cursor: The place after which to go on; ``None`` starts at the top.

    Raises:
        InvalidParameter: The cursor is not from this list in this order.
    """
    parameters: dict[str, Any] = {"limit": limit + 1, "offset": offset}
    for name in _CONDITIONS:
        value = getattr(wanted, name)
        if value is not None:
            parameters[name] = value
    if wanted.search is not None and not wanted.search.split():
        del parameters["search"]
    elif wanted.search is not None:
        parameters["search"] = matching_query(wanted.search)
    filters = tuple(name for name in _CONDITIONS if name in parameters)
    if parameters.get("search") == "":
        # Signs alone: there is no word that could be found.
        filters += ("nothing",)
    elif "search" in parameters:
        parameters["found"] = _find_by_text(parameters["search"], scope)
    if wanted.deleted:
        filters += ("deleted",)
    order = f"conversations:{sort_by}:{'desc' if descending else 'asc'}"
    column_type, _ = SORT_COLUMNS[sort_by]
    if cursor is not None:
        value, key = decode_cursor(cursor, order=order, types=(column_type, int))
        parameters["after_value"], parameters["after_key"] = value, key
    page_sql, count_sql = _statements(filters, sort_by, descending, cursor is not None, scope)
    rows = fetch_all(page_sql, parameters)
    given = {name: value for name, value in parameters.items() if name not in _PLACE}
    counted = fetch_one(count_sql, given)
    return make_page(
        [Fragment(document) for _, _, document in rows],
        [(value, key) for value, key, _ in rows],
        order=order,
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
    )


def _find_by_text(match: str, scope: Scope) -> str:
    """Return the keys of conversations with a message that matches, as JSON."""
    sql = _FOUND + ("" if scope.is_whole else _IN_COPIES)
    there = scope.and_there("d")
    found: set[int] = set()
    for part in list_parts():
        rows = fetch_all(sql.format(table=part.table, there=there), {"search": match})
        found.update(key for (key,) in rows)
    return orjson.dumps(list(found)).decode()


_GET = """
    SELECT key, document, details,
        EXISTS (SELECT 1 FROM conversations child WHERE child.parent_key = conversations.key)
    FROM conversations WHERE id = ? AND deleted_at IS NULL{there}
"""
_SUBAGENTS = """
    SELECT c.id, c.title, c.agent_id, c.agent_type, c.workflow_run_id, c.created_at, c.updated_at,
        c.message_count, c.tool_use_count, c.error_count, c.total_tokens, c.cost_nanodollars,
        c.api_call_count, c.unpriced_call_count,
        (SELECT t.tool_use_id FROM tool_uses t
         WHERE t.subagent_id = coalesce(c.workflow_run_id, c.agent_id)
             AND (t.conversation_key = c.parent_key OR EXISTS (
                 SELECT 1 FROM messages copied WHERE copied.copy_of_key = t.message_key
                     AND copied.conversation_key = c.parent_key))
         ORDER BY t.key LIMIT 1)
    FROM conversations c WHERE c.parent_key = ? AND c.deleted_at IS NULL{there}
    ORDER BY c.created_at, c.key
"""


@lru_cache(maxsize=1024)
def _one_statements(scope: Scope) -> tuple[str, str]:
    """Return the SQL of one conversation and of its subagents."""
    return (
        _GET.format(there=scope.and_there("conversations")),
        _SUBAGENTS.format(there=scope.and_there("c")),
    )


def find_key(conversation_id: str, *, scope: Scope) -> int | None:
    """Return the key of a conversation that is not in the trash, or ``None``."""
    row = fetch_one(
        "SELECT key FROM conversations WHERE id = ? AND deleted_at IS NULL"
        + scope.and_there("conversations"),
        (conversation_id,),
    )
    return row[0] if row else None


def get_conversation(conversation_id: str, *, scope: Scope) -> Fragment:
    """Return the JSON of one conversation with usage by model and its subagents.

    Raises:
        NotFound: There is none, or it is in the trash.
    """
    one, below = _one_statements(scope)
    row = fetch_one(one, (conversation_id,))
    if row is None:
        raise NotFound("conversation", conversation_id)
    key, document, details, has_subagents = row
    children: list[tuple[Any, ...]] = []
    if has_subagents:
        children = fetch_all(below, (key,))
    if not scope.is_whole:
        details = _leave_out_source(key, details, scope)
    subagents = [_subagent(child) for child in children]
    return join_documents(document, details, subagents=subagents)


def _leave_out_source(key: int, details: str, scope: Scope) -> str:
    """Return details without the id of a conversation that was copied, unless it is there."""
    source = fetch_one(
        "SELECT 1 FROM conversations c WHERE c.key ="
        f" (SELECT copied_from_key FROM conversations WHERE key = ?){scope.and_there('c')}",
        (key,),
    )
    if source is not None:
        return details
    return orjson.dumps({**orjson.loads(details), "copied_from": None}).decode()


def _subagent(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "title": row[1] or UNTITLED,
        "agent_id": row[2],
        "agent_type": row[3],
        "workflow_run_id": row[4],
        "created_at": row[5],
        "updated_at": row[6],
        "message_count": row[7],
        "tool_use_count": row[8],
        "error_count": row[9],
        "total_tokens": row[10],
        **cost(row[11], calls=row[12], unpriced=row[13]),
        "tool_use_id": row[14],
    }


def family(key: int) -> list[int]:
    """Return the keys of a conversation and of all subagents below it."""
    rows = fetch_all(
        "WITH RECURSIVE below (key) AS (SELECT ?1 UNION"
        " SELECT c.key FROM conversations c JOIN below ON c.parent_key = below.key)"
        " SELECT key FROM below",
        (key,),
    )
    return [row[0] for row in rows]


def find_untrashed(keys: Iterable[int]) -> list[int]:
    """Return those of some conversations that are not in the trash."""
    rows = fetch_all(
        "SELECT key FROM conversations WHERE deleted_at IS NULL"
        " AND key IN (SELECT value FROM json_each(?)) ORDER BY key",
        (orjson.dumps(list(keys)).decode(),),
    )
    return [row[0] for row in rows]
