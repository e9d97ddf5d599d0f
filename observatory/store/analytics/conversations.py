"""Sums of single conversations in a period.

Of those that lie in it as a whole their counters are the sums, and an index has them in order. Only
of those that reach over its ends what they add at each time is added up.
"""

from __future__ import annotations

from typing import Any

from observatory.store.analytics import figures
from observatory.store.analytics.figures import Numbers
from observatory.store.analytics.periods import Period, as_text
from observatory.store.analytics.reading import Asked
from observatory.store.database import fetch_all, fetch_one
from observatory.store.rollup_tables import USAGE

# Those in the period as a whole: by an index, the most expensive first.
_INSIDE = """
    SELECT c.key, c.cost_nanodollars FROM conversations c INDEXED BY conversations_by_cost
    WHERE c.deleted_at IS NULL AND c.created_at >= :start AND c.updated_at < :end
        AND c.api_call_count > 0 {there}
    ORDER BY c.cost_nanodollars DESC, c.key DESC LIMIT :limit
"""
_OVER_ENDS = """
    SELECT c.key FROM conversations c INDEXED BY conversations_by_span
    WHERE c.deleted_at IS NULL AND c.updated_at >= :start
        AND (c.created_at < :start OR c.updated_at >= :end) AND c.created_at < :end {there}
"""
_SUMMED = ", ".join(f"sum(u.{name})" for name in USAGE.measures)
_PARTS = f"""
    SELECT c.id, c.kind, c.title, p.key, p.path, p.name, {_SUMMED}
    FROM conversation_usage u
    JOIN conversations c ON c.key = u.conversation_key
    LEFT JOIN projects p ON p.key = c.project_key
    WHERE {{which}} AND u.start >= :first AND u.start < :last{{model}}{{there}}
    GROUP BY u.conversation_key HAVING sum(u.api_calls) > 0
    ORDER BY sum(u.cost_nanodollars) DESC, u.conversation_key DESC LIMIT :limit
"""


def list_conversation_sums(asked: Asked, *, limit: int) -> list[tuple[dict[str, Any], Numbers]]:
    """Return what conversations used in a period, the most expensive first."""
    parameters = {**_span(asked.period), "limit": limit}
    there = asked.and_there("c")
    if asked.model is not None:
        parameters["model"] = asked.model
        which = "u.start >= :first"
        sql = _PARTS.format(which=which, model=" AND u.model = :model", there=there)
        return [_conversation(row) for row in fetch_all(sql, parameters)]
    wanted = f"u.conversation_key IN ({_OVER_ENDS.format(there=there)} UNION ALL"
    wanted += f" SELECT key FROM ({_INSIDE.format(there=there)}))"
    sql = _PARTS.format(which=wanted, model="", there="")
    return [_conversation(row) for row in fetch_all(sql, parameters)]


def _span(period: Period) -> dict[str, Any]:
    return {
        "first": period.start,
        "last": period.end,
        "start": as_text(period.start),
        "end": as_text(period.end),
    }


def _conversation(row: tuple[Any, ...]) -> tuple[dict[str, Any], Numbers]:
    identifier, kind, title, project_key, path, name, *numbers = row
    return {
        "conversation_id": identifier,
        "kind": kind,
        "title": title,
        "project_id": project_key,
        "project_path": path,
        "project_name": name,
    }, figures.number(numbers)


def count_active(asked: Asked) -> dict[str, int]:
    """Return in how many sessions and subagents something was said in a period, by their kind."""
    # Of those in it as a whole the index tells. Counted in one go: by kind they were sorted, which
    # took three times as long.
    row = fetch_one(
        "SELECT count(*), sum(c.kind = 'subagent')"
        " FROM conversations c INDEXED BY conversations_by_span"
        " WHERE c.deleted_at IS NULL AND c.updated_at >= :start AND c.created_at < :end"
        " AND CASE WHEN c.created_at >= :start AND c.updated_at < :end"
        " THEN c.message_count > c.copied_message_count"
        " ELSE EXISTS (SELECT 1 FROM conversation_usage u WHERE u.conversation_key = c.key"
        " AND u.start >= :first AND u.start < :last AND u.messages > 0) END"
        f"{asked.and_placed('c')}",
        _span(asked.period),
    )
    assert row is not None
    number, subagents = row[0], row[1] or 0
    return {"session": number - subagents, "subagent": subagents}


def list_longest(asked: Asked, *, limit: int) -> list[dict[str, Any]]:
    """Return the conversations that went on for the longest, of those in a period as a whole."""
    there = asked.and_there("c")
    rows = fetch_all(
        "SELECT c.id, c.title, p.path, c.created_at, c.updated_at,"
        " unixepoch(c.updated_at) - unixepoch(c.created_at), c.message_count"
        " FROM conversations c INDEXED BY conversations_by_length"
        " LEFT JOIN projects p ON p.key = c.project_key"
        " WHERE c.deleted_at IS NULL AND c.created_at >= :start AND c.updated_at < :end"
        f"{there} ORDER BY unixepoch(c.updated_at) - unixepoch(c.created_at) DESC LIMIT :limit",
        {**_span(asked.period), "limit": limit},
    )
    names = (
        "conversation_id", "title", "project_path", "created_at", "updated_at",
        "duration_seconds", "message_count",
    )  # fmt: skip
    return [dict(zip(names, row, strict=True)) for row in rows]
