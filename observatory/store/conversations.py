"""Conversations: lists and single ones.

The SQL is written by hand and made once per combination of filters: compiling a query costs more
than running it (docs/performance.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from orjson import Fragment

from observatory.errors import NotFound
from observatory.store import search
from observatory.store.counters import recount_conversations
from observatory.store.database import execute, fetch_all, fetch_one, writing
from observatory.store.pages import Page, decode_cursor, make_page

SORT_COLUMNS = {
    "title": (str, "conversations_by_title"),
    "created_at": (str, "conversations_by_start"),
    "updated_at": (str, "conversations_by_update"),
    "message_count": (int, "conversations_by_messages"),
    "total_tokens": (int, "conversations_by_tokens"),
}

_COLUMNS = """
    c.key, c.id, c.kind, parent.id, c.title, p.path, c.created_at, c.updated_at,
    c.message_count, c.tool_use_count, c.error_count, c.input_tokens, c.output_tokens,
    c.cache_creation_input_tokens, c.cache_read_input_tokens, c.total_tokens,
    c.api_call_count, c.unpriced_call_count, c.undercounted_call_count, c.cost_nanodollars,
    c.models, c.client_version, c.entrypoint, c.metadata, c.cwd, c.git_branch
"""
_FROM = """
    FROM conversations c
    LEFT JOIN projects p ON p.key = c.project_key
    LEFT JOIN conversations parent ON parent.key = c.parent_key
"""
UNTITLED = "(no prompt)"


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


_CONDITIONS = {
    "search": (
        "(c.key IN (SELECT rowid FROM title_search WHERE title_search MATCH :search)"
        " OR c.key IN (SELECT m.conversation_key FROM message_search s"
        " JOIN messages m ON m.key = s.rowid WHERE message_search MATCH :search))"
    ),
    "project_path": "c.project_key = (SELECT key FROM projects WHERE path = :project_path)",
    "date_from": "c.updated_at >= :date_from",
    "date_to": "c.created_at <= :date_to",
    "model": "c.key IN (SELECT conversation_key FROM api_calls WHERE model = :model)",
    "has_errors": "(c.error_count > 0) = :has_errors",
    "kind": "c.kind = :kind",
    "parent_id": "c.parent_key = (SELECT key FROM conversations WHERE id = :parent_id)",
}
_COUNT_ALL = "SELECT value FROM totals WHERE name = 'conversations'"


@lru_cache(maxsize=1024)
def _statements(
    filters: tuple[str, ...], sort_by: str, descending: bool, after: bool
) -> tuple[str, str]:
    """Return the SQL of a page and of the count for one combination of filters."""
    conditions = ["c.deleted_at IS NULL", *(_CONDITIONS[name] for name in filters)]
    where = " WHERE " + " AND ".join(conditions)
    counting = f"SELECT count(*) FROM conversations c{where}" if filters else _COUNT_ALL
    if after:
        where += (
            f" AND (c.{sort_by}, c.key) {'<' if descending else '>'} (:after_value, :after_key)"
        )
    direction = "DESC" if descending else "ASC"
    page = (
        f"SELECT {_COLUMNS}{_FROM}{where} ORDER BY c.{sort_by} {direction}, c.key {direction}"
        " LIMIT :limit OFFSET :offset"
    )
    return page, counting


def list_conversations(
    wanted: ConversationFilter,
    *,
    sort_by: str = "updated_at",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
    cursor: str | None = None,
) -> Page:
    """Return one page of conversations that are not in the trash.

    Args:
        wanted: Which ones.
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
    if wanted.search is not None:
        parameters["search"] = search.matching_query(wanted.search)
        if not parameters["search"]:
            del parameters["search"]
    filters = tuple(name for name in _CONDITIONS if name in parameters)
    order = f"conversations:{sort_by}:{'desc' if descending else 'asc'}"
    column_type, _ = SORT_COLUMNS[sort_by]
    if cursor is not None:
        value, key = decode_cursor(cursor, order=order, types=(column_type, int))
        parameters["after_value"], parameters["after_key"] = value, key
    page_sql, count_sql = _statements(filters, sort_by, descending, cursor is not None)
    rows = fetch_all(page_sql, parameters)
    counted = fetch_one(count_sql, {name: parameters[name] for name in filters})
    shown = [_conversation(row) for row in rows]
    at = _SORT_POSITIONS[sort_by]
    return make_page(
        shown,
        [(row[at], row[0]) for row in rows],
        order=order,
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
    )


_SORT_POSITIONS = {
    "title": 4,
    "created_at": 6,
    "updated_at": 7,
    "message_count": 8,
    "total_tokens": 15,
}


def _conversation(row: tuple[Any, ...]) -> dict[str, Any]:
    (
        _key, identifier, kind, parent_id, title, project_path, created_at, updated_at,
        message_count, tool_use_count, error_count, input_tokens, output_tokens,
        cache_creation, cache_read, total_tokens, calls, unpriced, undercounted, nanodollars,
        models, client_version, entrypoint, metadata, cwd, git_branch,
    ) = row  # fmt: skip
    return {
        "id": identifier,
        "kind": kind,
        "parent_id": parent_id,
        "title": title or UNTITLED,
        "project_path": project_path,
        "created_at": created_at,
        "updated_at": updated_at,
        "message_count": message_count,
        "tool_use_count": tool_use_count,
        "error_count": error_count,
        "total_tokens": total_tokens,
        "usage": {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cache_creation_input_tokens": cache_creation,
            "cache_read_input_tokens": cache_read,
        },
        **cost(nanodollars, calls=calls, unpriced=unpriced),
        "usage_quality": "undercounted" if undercounted else "exact",
        "models": Fragment(models),
        "git_branch": git_branch,
        "metadata": {
            "version": client_version,
            "client": entrypoint,
            "os": _operating_system(cwd),
            "model": models[2 : models.index('"', 2)] if len(models) > 2 else None,
            "project_type": None,
            "tags": [],
        }
        if metadata == "{}"
        else Fragment(metadata),
    }


def cost(nanodollars: int, *, calls: int, unpriced: int) -> dict[str, Any]:
    """Return a cost as the API shows it: ``null`` when nothing of it has a known price."""
    return {
        "cost_microdollars": None if calls and calls == unpriced else round(nanodollars / 1000),
        "cost_complete": not unpriced,
    }


def _operating_system(cwd: str | None) -> str | None:
    """Return the system that a path's shape tells of, or ``None``."""
    if not cwd:
        return None
    if cwd[1:2] == ":":
        return "windows"
    if cwd.startswith("/Users/"):
        return "macos"
    return "linux" if cwd.startswith(("/home/", "/root")) else None


_GET = f"""
    SELECT c.agent_id, c.agent_type, c.workflow_run_id, c.prompt_count, c.copied_message_count,
    copied.id, c.api_call_count, c.unpriced_call_count, c.undercounted_call_count, {_COLUMNS}
    {_FROM} LEFT JOIN conversations copied ON copied.key = c.copied_from_key
    WHERE c.id = ? AND c.deleted_at IS NULL
"""
_USAGE_BY_MODEL = """
    SELECT model, count(*), sum(input_tokens), sum(output_tokens),
        sum(cache_creation_input_tokens), sum(cache_read_input_tokens),
        sum(cache_creation_5m_input_tokens), sum(cache_creation_1h_input_tokens),
        sum(web_search_requests), coalesce(sum(cost_nanodollars), 0),
        count(*) - count(cost_nanodollars), sum(usage_quality = 'undercounted')
    FROM api_calls WHERE conversation_key = ? GROUP BY model ORDER BY model
"""
_SUBAGENTS = """
    SELECT c.id, c.title, c.agent_id, c.agent_type, c.workflow_run_id, c.created_at, c.updated_at,
        c.message_count, c.tool_use_count, c.error_count, c.total_tokens, c.cost_nanodollars,
        c.api_call_count, c.unpriced_call_count,
        (SELECT t.tool_use_id FROM tool_uses t
         WHERE t.subagent_id = coalesce(c.workflow_run_id, c.agent_id)
             AND t.conversation_key = c.parent_key ORDER BY t.key LIMIT 1)
    FROM conversations c WHERE c.parent_key = ? AND c.deleted_at IS NULL
    ORDER BY c.created_at, c.key
"""


def find_key(conversation_id: str) -> int | None:
    """Return the key of a conversation that is not in the trash, or ``None``."""
    row = fetch_one(
        "SELECT key FROM conversations WHERE id = ? AND deleted_at IS NULL", (conversation_id,)
    )
    return row[0] if row else None


def get_conversation(conversation_id: str) -> dict[str, Any]:
    """Return one conversation with usage by model and its subagents.

    Raises:
        NotFound: There is none, or it is in the trash.
    """
    row = fetch_one(_GET, (conversation_id,))
    if row is None:
        raise NotFound("conversation", conversation_id)
    agent_id, agent_type, run_id, prompts, copied, copied_from, calls, unpriced, under = row[:9]
    conversation = _conversation(row[9:])
    key = row[9]
    conversation.update(
        prompt_count=prompts,
        copied_from=copied_from,
        copied_message_count=copied,
        agent_id=agent_id,
        agent_type=agent_type,
        workflow_run_id=run_id,
        api_call_count=calls,
        unpriced_call_count=unpriced,
        undercounted_call_count=under,
        usage_by_model=[_model_usage(model) for model in fetch_all(_USAGE_BY_MODEL, (key,))],
        subagents=[_subagent(child) for child in fetch_all(_SUBAGENTS, (key,))],
    )
    return conversation


def _model_usage(row: tuple[Any, ...]) -> dict[str, Any]:
    model, calls, used_in, used_out, creation, read, five, hour, searches, cost_sum, unpriced, u = (
        row
    )
    return {
        "model": model,
        "api_calls": calls,
        "input_tokens": used_in,
        "output_tokens": used_out,
        "cache_creation_input_tokens": creation,
        "cache_read_input_tokens": read,
        "cache_creation_5m_input_tokens": five,
        "cache_creation_1h_input_tokens": hour,
        "web_search_requests": searches,
        **cost(cost_sum, calls=calls, unpriced=unpriced),
        "usage_quality": "undercounted" if u else "exact",
    }


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


def delete_conversation(conversation_id: str) -> None:
    """Really remove a conversation: its rows, its entries in the index, its counts.

    Its subagents stay and lose their parent. A copy of it keeps the text that both share, and
    loses the tool uses and model calls, which were counted here.

    Raises:
        NotFound: There is none.
    """
    with writing():
        row = fetch_one("SELECT key FROM conversations WHERE id = ?", (conversation_id,))
        if row is None:
            raise NotFound("conversation", conversation_id)
        key = row[0]
        copies = fetch_all(
            "SELECT c.key, c.conversation_key FROM messages c JOIN messages o"
            " ON o.key = c.copy_of_key WHERE o.conversation_key = ?",
            (key,),
        )
        execute(
            "UPDATE messages SET content = o.content, blocks = o.blocks FROM messages o"
            " WHERE o.key = messages.copy_of_key AND o.conversation_key = ?",
            (key,),
        )
        execute(
            "DELETE FROM message_search WHERE rowid IN (SELECT key FROM messages"
            " WHERE conversation_key = ? AND copy_of_key IS NULL AND key <="
            " (SELECT value FROM totals WHERE name = 'indexed_message_key'))",
            (key,),
        )
        execute("DELETE FROM conversations WHERE key = ?", (key,))
        search.index_again(copy[0] for copy in copies)
        recount_conversations({copy[1] for copy in copies})
