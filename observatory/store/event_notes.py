"""Noting that something changed, in the transaction that changes it.

An event points at what it is about: what was said is read when the event is sent, as it is then.
So a conversation that is removed, masked or hidden later is so in its events, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from observatory.store.database import execute, execute_many, fetch_all
from observatory.store.scopes import WHOLE, Scope
from observatory.timestamps import format_timestamp, now

CONVERSATION_STARTED = "conversation_started"
CONVERSATION_UPDATED = "conversation_updated"
CONVERSATION_ENDED = "conversation_ended"
CONVERSATION_DELETED = "conversation_deleted"
MESSAGE_ADDED = "message_added"
TOOL_USE_FINISHED = "tool_use_finished"
PROJECT_DISCOVERED = "project_discovered"
FILE_PROCESSING_UPDATE = "file_processing_update"
ANALYTICS_UPDATE = "analytics_update"
BUDGET_THRESHOLD = "budget_threshold"
TYPES = (
    CONVERSATION_STARTED,
    CONVERSATION_UPDATED,
    CONVERSATION_ENDED,
    CONVERSATION_DELETED,
    MESSAGE_ADDED,
    TOOL_USE_FINISHED,
    PROJECT_DISCOVERED,
    FILE_PROCESSING_UPDATE,
    ANALYTICS_UPDATE,
    BUDGET_THRESHOLD,
)
# A conversation goes on as long as the last thing in it was said less than this ago: of the
# pauses between two records one in a hundred is longer than three minutes.
LIVE_FOR = timedelta(minutes=10)

_INSERT = "INSERT INTO events (created_at, type, {columns}) VALUES (?, ?, {values})"
_ABOUT_CONVERSATION = _INSERT.format(columns="conversation_key", values="?")
_ABOUT_MESSAGE = _INSERT.format(columns="conversation_key, subject_key", values="?, ?")
_ABOUT_TOOL_USE = _INSERT.format(columns="conversation_key, subject_id", values="?, ?")
_ABOUT_SUBJECT = _INSERT.format(columns="subject_key", values="?")


def note_conversations(event_type: str, keys: Iterable[int]) -> None:
    """Note that conversations started, changed or ended."""
    moment = now()
    execute_many(_ABOUT_CONVERSATION, [(moment, event_type, key) for key in keys])


def note_messages(messages: Iterable[tuple[int, int]]) -> None:
    """Note that messages were added: the keys of their conversations and their own."""
    moment = now()
    execute_many(_ABOUT_MESSAGE, [(moment, MESSAGE_ADDED, *message) for message in messages])


def note_tool_uses(uses: Iterable[tuple[int, str]]) -> None:
    """Note that tool uses ended: the keys of their conversations and their own ids."""
    moment = now()
    execute_many(_ABOUT_TOOL_USE, [(moment, TOOL_USE_FINISHED, *use) for use in uses])


def note_project(key: int) -> None:
    """Note that there is a project which was not there before."""
    execute(_ABOUT_SUBJECT, (now(), PROJECT_DISCOVERED, key))


def note_file(key: int, status: str) -> None:
    """Note that the reading of a file began, ended, failed or was asked for."""
    sql = _INSERT.format(columns="subject_key, data", values="?, ?")
    execute(sql, (now(), FILE_PROCESSING_UPDATE, key, json.dumps({"status": status})))


def note_deletions(keys: Iterable[int], *, is_permanent: bool) -> None:
    """Note that conversations are there no more, while they still are.

    The event outlives the conversation; so it holds which projects tell for whom it was there.
    """
    sql = _INSERT.format(columns="subject_id, data", values="?, ?")
    moment = now()
    rows = []
    for key in keys:
        above = fetch_all(
            "WITH RECURSIVE above (key, parent_key, project_key, id) AS ("
            "SELECT key, parent_key, project_key, id FROM conversations WHERE key = ?"
            " UNION SELECT c.key, c.parent_key, c.project_key, c.id FROM above"
            " JOIN conversations c ON c.key = above.parent_key)"
            " SELECT id, project_key FROM above",
            (key,),
        )
        data = {
            "is_permanent": is_permanent,
            "family": [row[0] for row in above],
            "projects": [row[1] for row in above],
        }
        rows.append((moment, CONVERSATION_DELETED, above[0][0], json.dumps(data)))
    execute_many(sql, rows)


def note_analytics(after: int) -> None:
    """Note which projects have other numbers than they had at an event."""
    execute(
        "INSERT INTO events (created_at, type, subject_key)"
        " SELECT ?, ?, project_key FROM (SELECT DISTINCT c.project_key FROM events e"
        " JOIN conversations c ON c.key = e.conversation_key"
        " WHERE e.id > ? AND c.project_key IS NOT NULL AND e.type IN (?, ?))",
        (now(), ANALYTICS_UPDATE, after, CONVERSATION_UPDATED, CONVERSATION_STARTED),
    )


def note_budget(key: int, numbers: dict[str, Any]) -> None:
    """Note that a budget crossed a threshold, with what was spent then.

    Args:
        key: The budget.
        numbers: What is told; ``projects`` holds the keys of those that were counted.
    """
    sql = _INSERT.format(columns="subject_key, data", values="?, ?")
    execute(sql, (now(), BUDGET_THRESHOLD, key, json.dumps(numbers)))


def find_noted_percent(key: int, period_from: str) -> int:
    """Return the highest threshold of a budget that events still tell of for a period, or 0."""
    [(percent,)] = fetch_all(
        "SELECT max(data ->> '$.percent') FROM events"
        " WHERE type = ? AND subject_key = ? AND data ->> '$.period_from' = ?",
        (BUDGET_THRESHOLD, key, period_from),
    )
    return percent or 0


def forget_budget(key: int) -> None:
    """Take a budget out of the events: it was deleted, or is of another project."""
    execute("DELETE FROM events WHERE subject_key = ? AND type = ?", (key, BUDGET_THRESHOLD))


def forget_conversation(key: int) -> None:
    """Take a conversation that is removed for good out of the events, and what was sent of them.

    What waits to be sent ends by itself, for there is nothing left to say.
    """
    execute(
        "DELETE FROM webhook_deliveries WHERE status <> 'pending'"
        " AND event_id IN (SELECT id FROM events WHERE conversation_key = ?)",
        (key,),
    )
    execute("DELETE FROM events WHERE conversation_key = ?", (key,))


# No project has this key.
_NO_PROJECT = 0


def forget_project(key: int, *, into: int = _NO_PROJECT) -> None:
    """Take a project out of the events: its key may be another's next.

    Args:
        key: The project.
        into: The one that took its conversations over, if one did.
    """
    execute(
        "DELETE FROM events WHERE subject_key = ? AND type IN (?, ?)",
        (key, PROJECT_DISCOVERED, ANALYTICS_UPDATE),
    )
    execute(
        "UPDATE events SET data = json_set(data, '$.projects',"
        " (SELECT json_group_array(iif(value = ?1, ?2, value))"
        " FROM json_each(events.data, '$.projects')))"
        " WHERE type IN (?3, ?4)"
        " AND ?1 IN (SELECT value FROM json_each(events.data, '$.projects'))",
        (key, into, CONVERSATION_DELETED, BUDGET_THRESHOLD),
    )


def note_activity(keys: Iterable[int]) -> None:
    """Note which of some conversations go on: something was said in them a short while ago."""
    moment = datetime.now(UTC)
    execute(
        "INSERT INTO live_conversations (conversation_key, active_at)"
        " SELECT key, min(updated_at, ?1) FROM conversations WHERE updated_at > ?2"
        " AND deleted_at IS NULL AND key IN (SELECT value FROM json_each(?3))"
        " ON CONFLICT (conversation_key) DO UPDATE SET active_at = excluded.active_at",
        (
            format_timestamp(moment),
            format_timestamp(moment - LIVE_FOR),
            json.dumps(list(keys)),
        ),
    )


def find_quiet_conversations(moment: datetime) -> list[int]:
    """Return the conversations that went on and do not at a time."""
    rows = fetch_all(
        "SELECT conversation_key FROM live_conversations WHERE active_at <= ?",
        (format_timestamp(moment - LIVE_FOR),),
    )
    return [key for (key,) in rows]


def has_later_activity(moment: datetime) -> bool:
    """Tell whether something is said to have been said later than a time."""
    sql = "SELECT 1 FROM live_conversations WHERE active_at > ? LIMIT 1"
    return bool(fetch_all(sql, (format_timestamp(moment),)))


def bring_back_activity(moment: datetime) -> None:
    """Have what was said later than a time be said at that time, inside a transaction."""
    execute(
        "UPDATE live_conversations SET active_at = ?1 WHERE active_at > ?1",
        (format_timestamp(moment),),
    )


def end_conversations(keys: Iterable[int]) -> None:
    """Note that conversations ended; something said in them later lets them go on."""
    ended = list(keys)
    execute_many(
        "DELETE FROM live_conversations WHERE conversation_key = ?", [(key,) for key in ended]
    )
    note_conversations(CONVERSATION_ENDED, ended)


def count_live_conversations(scope: Scope = WHOLE) -> int:
    """Return in how many conversations that may be seen something was said a short while ago."""
    there = scope.and_there("c")
    [(number,)] = fetch_all(
        "SELECT count(*) FROM live_conversations"
        + (f" l JOIN conversations c ON c.key = l.conversation_key WHERE 1{there}" if there else "")
    )
    return int(number)
