"""The counters of conversations: always a recount, made in the transaction of the change.

One statement counts again what belongs to the conversations that a transaction touched, from
covering or partial indexes. It costs a few per cent of an ingest and can not drift, whoever writes
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
from observatory.store.rollups import Added, add_conversations, refresh_rollups

# The revision that a transaction makes.
NEXT_REVISION = "(SELECT value + 1 FROM totals WHERE name = 'revision')"
# Columns of a conversation, and the one row that a recount of them makes.
_COUNTED = (
    (
        "(message_count, copied_message_count, prompt_count)",
        """
        SELECT
            (SELECT count(*) FROM messages m WHERE m.conversation_key = conversations.key),
            (SELECT count(*) FROM messages m
             WHERE m.conversation_key = conversations.key AND m.copy_of_key IS NOT NULL),
            (SELECT count(*) FROM messages m
             WHERE m.conversation_key = conversations.key
                 AND m.kind IN ('prompt', 'queued_prompt'))
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
        """(api_call_count, unpriced_call_count, undercounted_call_count, input_tokens,
        output_tokens, cache_creation_input_tokens, cache_read_input_tokens, total_tokens,
        cost_nanodollars, models)""",
        """
        SELECT
            count(*),
            count(*) - count(cost_nanodollars),
            coalesce(sum(usage_quality = 'undercounted'), 0),
            coalesce(sum(input_tokens), 0),
            coalesce(sum(output_tokens), 0),
            coalesce(sum(cache_creation_input_tokens), 0),
            coalesce(sum(cache_read_input_tokens), 0),
            coalesce(sum(input_tokens + output_tokens + cache_creation_input_tokens
                         + cache_read_input_tokens), 0),
            coalesce(sum(cost_nanodollars), 0),
            (SELECT coalesce(json_group_array(model), '[]') FROM (
                SELECT DISTINCT model FROM api_calls
                WHERE conversation_key = conversations.key ORDER BY model))
        FROM api_calls WHERE conversation_key = conversations.key
        """,
    ),
)
RECOUNT = (
    "UPDATE conversations SET "
    + ", ".join(f"{columns} = ({recount})" for columns, recount in _COUNTED)
    + " WHERE key = ?"
)
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
            wanted[key] = _join_changes(wanted.get(key, known), known)
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
    execute_many(RECOUNT, [(key,) for key in keys])
    refresh_rollups(keys, since=since, added=added)
    execute(
        "WITH changed AS MATERIALIZED (SELECT value FROM json_each(?))"
        f" UPDATE conversations SET revision = {NEXT_REVISION} WHERE key IN changed"
        " OR key IN (SELECT parent_key FROM conversations WHERE key IN changed)",
        (json.dumps(keys),),
    )
    execute_many(
        "UPDATE conversations SET document = ?, details = ? WHERE key = ?", make_documents(keys)
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
