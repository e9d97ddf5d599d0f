"""Subagents: what a session and all that it started cost, as a tree."""

from __future__ import annotations

from typing import Any

from observatory.errors import NotFound
from observatory.store.analytics.periods import as_text
from observatory.store.analytics.reading import Asked
from observatory.store.conversation_documents import UNTITLED, cost
from observatory.store.conversations import find_key
from observatory.store.database import fetch_all
from observatory.store.scopes import Scope

MAX_DEPTH = 50
_COLUMNS = (
    "c.key, c.id, c.parent_key, c.title, c.agent_type, c.created_at, c.updated_at,"
    " c.message_count, c.tool_use_count, c.error_count, c.total_tokens, c.cost_nanodollars,"
    " c.api_call_count, c.unpriced_call_count"
)
_TREE = f"""
    WITH RECURSIVE below (key, depth) AS (
        SELECT ?1, 0 UNION
        SELECT c.key, depth + 1 FROM below CROSS JOIN conversations c ON c.parent_key = below.key
        WHERE c.deleted_at IS NULL AND depth < {MAX_DEPTH}{{there}}
    )
    SELECT {_COLUMNS} FROM conversations c WHERE c.key IN (SELECT key FROM below)
    ORDER BY c.created_at, c.key
"""
# All subagents below sessions, with what both cost. There is an index of those with a parent. What
# has no parent is in no circle, so nothing is found twice. With coalesce subagents are looked
# up after their session, and only those of one in the period.
_SESSIONS = """
    WITH RECURSIVE below (root, own, key, place_key, cost, tokens, calls, unpriced) AS (
        SELECT p.key, p.cost_nanodollars, c.key, c.place_key, c.cost_nanodollars, c.total_tokens,
            c.api_call_count, c.unpriced_call_count
        FROM conversations c INDEXED BY conversations_by_parent
        JOIN conversations p ON p.key = c.parent_key AND p.parent_key IS NULL
        WHERE c.parent_key IS NOT NULL AND p.deleted_at IS NULL
            AND p.updated_at >= :start AND p.created_at < :end
            AND coalesce(p.deleted_at, c.deleted_at) IS NULL{there}
        UNION ALL
        SELECT below.root, below.own, c.key, c.place_key, c.cost_nanodollars, c.total_tokens,
            c.api_call_count, c.unpriced_call_count
        FROM below CROSS JOIN conversations c ON c.parent_key = below.key
        WHERE c.deleted_at IS NULL
    ), most AS (
        SELECT root, count(*) AS number, sum(cost) AS cost, sum(tokens) AS tokens,
            sum(calls) AS calls, sum(unpriced) AS unpriced
        FROM below WHERE TRUE{below} GROUP BY root
        ORDER BY max(own) + sum(cost) DESC, root DESC LIMIT :limit
    )
    SELECT s.id, s.title, p.path, s.agent_type, s.cost_nanodollars, s.total_tokens,
        s.api_call_count, s.unpriced_call_count, most.number, most.cost, most.tokens, most.calls,
        most.unpriced
    FROM most CROSS JOIN conversations s ON s.key = most.root
    LEFT JOIN projects p ON p.key = s.project_key
    ORDER BY s.cost_nanodollars + most.cost DESC, s.key DESC
"""


def list_sessions_with_subagents(asked: Asked, *, limit: int) -> list[dict[str, Any]]:
    """Return the sessions active in a period that have subagents, the most expensive first.

    What they cost is of all time: a session is not cut at the ends of a period.
    """
    there = asked.and_placed("p")
    rows = fetch_all(
        _SESSIONS.format(there=there, below=asked.of_all_projects().and_placed("below")),
        {
            "start": as_text(asked.period.start),
            "end": as_text(asked.period.end),
            "limit": limit,
        },
    )
    return [_session(row) for row in rows]


def _session(row: tuple[Any, ...]) -> dict[str, Any]:
    identifier, title, path, _, own, tokens, calls, unpriced, number, *below = row
    return {
        "conversation_id": identifier,
        "title": title or UNTITLED,
        "project_path": path,
        "subagent_count": number,
        "own": {"total_tokens": tokens, **cost(own, calls=calls, unpriced=unpriced)},
        "subagents": {
            "total_tokens": below[1],
            **cost(below[0], calls=below[2], unpriced=below[3]),
        },
        "total": {
            "total_tokens": tokens + below[1],
            **cost(own + below[0], calls=calls + below[2], unpriced=unpriced + below[3]),
        },
    }


def read_tree(conversation_id: str, *, scope: Scope) -> dict[str, Any]:
    """Return a conversation with all below it, each with its own figures and those in total.

    Raises:
        NotFound: There is none, or it is in the trash.
    """
    key = find_key(conversation_id, scope=scope)
    if key is None:
        raise NotFound("conversation", conversation_id)
    rows = fetch_all(_TREE.format(there=scope.and_there("c")), (key,))
    children: dict[int | None, list[tuple[Any, ...]]] = {}
    for row in rows:
        if row[0] != key:
            children.setdefault(row[2], []).append(row)
    [root] = [row for row in rows if row[0] == key]
    document, _ = _node(root, children, seen={key})
    return document


# Tokens, nanodollars, calls, and calls without a known price.
_Figures = tuple[int, int, int, int]


def _node(
    row: tuple[Any, ...], children: dict[int | None, list[tuple[Any, ...]]], *, seen: set[int]
) -> tuple[dict[str, Any], _Figures]:
    own: _Figures = row[10:14]
    total = list(own)
    below = []
    for child in children.get(row[0], ()):
        if child[0] in seen:
            continue
        seen.add(child[0])
        document, figures = _node(child, children, seen=seen)
        below.append(document)
        total = [a + b for a, b in zip(total, figures, strict=True)]
    return {
        "conversation_id": row[1],
        "title": row[3] or UNTITLED,
        "agent_type": row[4],
        "created_at": row[5],
        "updated_at": row[6],
        "message_count": row[7],
        "tool_use_count": row[8],
        "error_count": row[9],
        "own": _figures(own),
        "total": _figures((total[0], total[1], total[2], total[3])),
        "subagents": below,
    }, (total[0], total[1], total[2], total[3])


def _figures(figures: _Figures) -> dict[str, Any]:
    tokens, nanodollars, calls, unpriced = figures
    return {"total_tokens": tokens, **cost(nanodollars, calls=calls, unpriced=unpriced)}
