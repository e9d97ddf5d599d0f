"""The counters of conversations, made in the transaction of the change: mostly a recount.

One statement counts again what belongs to the conversations that a transaction touched, from
covering or partial indexes. It costs a few per cent of an ingest and can not drift, whoever writes.
Where it is known that rows were only added, those alone are counted
(docs/decisions/0002-counters-are-recounts.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from observatory.store.conversation_documents import make_documents
from observatory.store.database import execute, execute_many, fetch_all
from observatory.store.event_notes import (
    CONVERSATION_STARTED,
    CONVERSATION_UPDATED,
    note_activity,
    note_conversations,
)
from observatory.store.putting_off import put_off
from observatory.store.rollups import NO_KEY, Added, add_conversations, refresh_rollups

# The revision that a transaction makes.
NEXT_REVISION = "(SELECT value + 1 FROM totals WHERE name = 'revision')"
_PROMPTS = "('prompt', 'queued_prompt')"
# What is counted of model calls.
_OF_CALLS = {
    "api_call_count": "count(*)",
    "unpriced_call_count": "count(*) - count(a.cost_nanodollars)",
    "undercounted_call_count": "coalesce(sum(a.usage_quality = 'undercounted'), 0)",
    "input_tokens": "coalesce(sum(a.input_tokens), 0)",
    "output_tokens": "coalesce(sum(a.output_tokens), 0)",
    "cache_creation_input_tokens": "coalesce(sum(a.cache_creation_input_tokens), 0)",
    "cache_read_input_tokens": "coalesce(sum(a.cache_read_input_tokens), 0)",
    "total_tokens": "coalesce(sum(a.input_tokens + a.output_tokens + a.cache_creation_input_tokens"
    " + a.cache_read_input_tokens), 0)",
    "cost_nanodollars": "coalesce(sum(a.cost_nanodollars), 0)",
}
# Columns of a conversation, and the one row that a recount of them makes.
_COUNTED = (
    (
        "(message_count, copied_message_count, prompt_count)",
        f"""
        SELECT
            (SELECT count(*) FROM messages m WHERE m.conversation_key = conversations.key),
            (SELECT count(*) FROM messages m
             WHERE m.conversation_key = conversations.key AND m.copy_of_key IS NOT NULL),
            (SELECT count(*) FROM messages m
             WHERE m.conversation_key = conversations.key AND m.kind IN {_PROMPTS})
        """,
    ),
    (
        "(tool_use_count, error_count)",
        """
        SELECT
            (SELECT count(*) FROM tool_uses t WHERE t.conversation_key = conversations.key)
            - (SELECT count(*) FROM tool_uses t
               WHERE t.conversation_key = conversations.key AND t.message_key IS NULL),
            (SELECT count(*) FROM tool_uses t
             WHERE t.conversation_key = conversations.key AND t.is_error = 1)
        """,
    ),
    (
        f"({', '.join(_OF_CALLS)}, models)",
        f"""
        SELECT {", ".join(_OF_CALLS.values())},
            (SELECT coalesce(json_group_array(model), '[]') FROM (
                SELECT DISTINCT model FROM api_calls
                WHERE conversation_key = conversations.key ORDER BY model))
        FROM api_calls a WHERE a.conversation_key = conversations.key
        """,
    ),
)
RECOUNT = (
    "UPDATE conversations SET "
    + ", ".join(f"{columns} = ({recount})" for columns, recount in _COUNTED)
    + " WHERE key = ?"
)
# The same where rows were only added: what those are is added to what was counted before. They are
# found by their own keys, however many the conversation has.
ADD_MESSAGES = f"""
    UPDATE conversations SET (message_count, copied_message_count, prompt_count) = (
        SELECT message_count + count(*), copied_message_count + count(m.copy_of_key),
            prompt_count + count(*) FILTER (WHERE m.kind IN {_PROMPTS})
        FROM messages m NOT INDEXED WHERE m.key >= ? AND m.conversation_key = conversations.key)
    WHERE key = ?
"""
_NEW_CALLS = (
    "FROM api_calls a NOT INDEXED WHERE a.key >= ?1 AND a.conversation_key = conversations.key"
)
ADD_CALLS = f"""
    UPDATE conversations SET ({", ".join(_OF_CALLS)}, models) = (
        SELECT {", ".join(f"conversations.{name} + {sum}" for name, sum in _OF_CALLS.items())},
            (SELECT json_group_array(model) FROM (
                SELECT value AS model FROM json_each(conversations.models)
                UNION SELECT a.model {_NEW_CALLS} ORDER BY model))
        {_NEW_CALLS})
    WHERE key = ?2
"""
_MISCOUNTED = (
    "SELECT id FROM conversations WHERE key BETWEEN ? AND ? AND ("
    + " OR ".join(f"{columns} IS NOT ({recount})" for columns, recount in _COUNTED)
    + ") ORDER BY key"
)


def find_miscounted(first_key: int, last_key: int) -> list[str]:
    """Return the ids of conversations whose counters differ from a recount."""
    return [row[0] for row in fetch_all(_MISCOUNTED, (first_key, last_key))]


class _Change(NamedTuple):
    """What is known of a conversation that is to be counted again."""

    since: int
    is_noted: bool
    added: Added | None


def refresh_conversations(
    keys: Iterable[int],
    *,
    started: Collection[int] = (),
    since: int = 0,
    added: Added | None = None,
) -> None:
    """Count again what belongs to these conversations, make their JSON anew, and note the change.

    They, and those whose subagents they are, get the revision that this transaction makes: what is
    shown of them changed then.

    Args:
        keys: Those that changed.
        started: Those of them of which it is noted already that there are new ones.
        since: The beginning of a quarter of an hour, in Unix seconds, before which nothing that is
            summed up changed; 0 when that is not known.
        added: All that changed of what is summed up, where messages were only added.
    """
    put_off(_refresh, {key: _Change(since, key in started, added) for key in keys})


def _refresh(changes: list[dict[int, _Change]]) -> None:
    """Count each conversation once, however often it changed."""
    wanted: dict[int, _Change] = {}
    for change in changes:
        for key, known in change.items():
            before = wanted.get(key)
            wanted[key] = known if before is None else _join_changes(before, known)
    alike: dict[tuple[int, bool], dict[int, _Change]] = {}
    for key, known in wanted.items():
        alike.setdefault((known.since, known.added is None), {})[key] = known
    for (since, _), keys in sorted(alike.items()):
        started = {key for key, known in keys.items() if known.is_noted}
        added = _join(*(known.added for known in keys.values()))
        _refresh_alike(sorted(keys), started=started, since=since, added=added)


def _join_changes(before: _Change, change: _Change) -> _Change:
    return _Change(
        min(before.since, change.since),
        before.is_noted and change.is_noted,
        _join(before.added, change.added),
    )


def _join(*added: Added | None) -> Added | None:
    """Return what was added in all, or ``None`` where something was changed otherwise.

    In a transaction all keys from the first new one on are new.
    """
    known = [each for each in added if each is not None]
    if len(known) < len(added):
        return None
    return Added(*(min(keys) for keys in zip(*known, strict=True)))


def _refresh_alike(
    keys: Sequence[int], *, started: Collection[int], since: int, added: Added | None
) -> None:
    if added is None:
        execute_many(RECOUNT, [(key,) for key in keys])
    else:
        execute_many(ADD_MESSAGES, [(added.message_key, key) for key in keys])
        if added.api_call_key < NO_KEY:
            execute_many(ADD_CALLS, [(added.api_call_key, key) for key in keys])
    refresh_rollups(keys, since=since, added=added)
    execute(
        "WITH changed AS MATERIALIZED (SELECT value FROM json_each(?))"
        f" UPDATE conversations SET revision = {NEXT_REVISION} WHERE key IN changed"
        " OR key IN (SELECT parent_key FROM conversations WHERE key IN changed)",
        (json.dumps(keys),),
    )
    execute_many(
        "UPDATE conversations SET document = ?, details = ? WHERE key = ?",
        make_documents(keys, are_summed=added is not None),
    )
    note_activity(keys)
    note_conversations(CONVERSATION_UPDATED, (key for key in keys if key not in started))


def count_new_conversations(places: Mapping[int, int]) -> None:
    """Add conversations to the sums that were made just now, and note that they are there.

    Args:
        places: Those that were made, and where they stand. There is nothing in them to count, and
            they have revision and JSON.
    """
    add_conversations(places)
    note_activity(places)
    note_conversations(CONVERSATION_STARTED, places)
