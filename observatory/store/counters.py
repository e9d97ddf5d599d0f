"""The counters of conversations: always a recount, made in the transaction of the change.

One statement counts again what belongs to the conversations that a transaction touched, from
covering or partial indexes. It costs a few per cent of an ingest and can not drift, whoever writes
(docs/decisions/0002-counters-are-recounts.md).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from observatory.store.conversation_documents import make_documents
from observatory.store.database import execute, execute_many, fetch_all
from observatory.store.event_notes import (
    CONVERSATION_STARTED,
    CONVERSATION_UPDATED,
    note_activity,
    note_conversations,
)
from observatory.store.rollups import Added, refresh_rollups

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


class _Later(threading.local):
    """What this thread counts again at the end of a block: since when, and what is noted of it."""

    wanted: dict[int, _Change] | None = None


class _Change(NamedTuple):
    since: int
    is_noted: bool
    added: Added | None
    is_new: bool


_later = _Later()


@contextmanager
def putting_off() -> Iterator[None]:
    """Count conversations at the end of a block, once each, instead of with each change in it."""
    _later.wanted = {}
    try:
        yield
        wanted = _later.wanted
    finally:
        _later.wanted = None
    alike: dict[tuple[int, bool, bool], dict[int, _Change]] = {}
    for key, change in wanted.items():
        kind = change.since, change.added is None, change.is_new
        alike.setdefault(kind, {})[key] = change
    for (since, _, is_new), keys in sorted(alike.items()):
        started = [key for key, change in keys.items() if change.is_noted]
        added = _join(*(change.added for change in keys.values()))
        refresh_conversations(keys, started=started, since=since, added=added, is_new=is_new)


def _put_off(wanted: dict[int, _Change], key: int, change: _Change) -> None:
    before = wanted.get(key, change)
    wanted[key] = _Change(
        min(before.since, change.since),
        before.is_noted and change.is_noted,
        _join(before.added, change.added),
        before.is_new and change.is_new,
    )


def _join(*added: Added | None) -> Added | None:
    """Return what was added in all, or ``None`` where something was changed otherwise.

    In a transaction all keys from the first new one on are new.
    """
    known = [each for each in added if each is not None]
    if len(known) < len(added):
        return None
    return Added(*(min(keys) for keys in zip(*known, strict=True)))


def refresh_conversations(
    keys: Iterable[int],
    *,
    started: Collection[int] = (),
    since: int = 0,
    added: Added | None = None,
    is_new: bool = False,
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
        is_new: Whether they were made just now, and there is nothing in them to count; that they
            are there is noted instead.
    """
    if _later.wanted is not None:
        for key in keys:
            _put_off(_later.wanted, key, _Change(since, key in started, added, is_new))
        return
    changed = sorted(keys)
    if not is_new:
        execute_many(RECOUNT, [(key,) for key in changed])
    refresh_rollups(changed, since=since, added=added, is_new=is_new)
    execute(
        "WITH changed AS MATERIALIZED (SELECT value FROM json_each(?))"
        " UPDATE conversations SET revision = (SELECT value + 1 FROM totals"
        " WHERE name = 'revision') WHERE key IN changed"
        " OR key IN (SELECT parent_key FROM conversations WHERE key IN changed)",
        (json.dumps(changed),),
    )
    execute_many(
        "UPDATE conversations SET document = ?, details = ? WHERE key = ?", make_documents(changed)
    )
    note_activity(changed)
    if is_new:
        note_conversations(CONVERSATION_STARTED, changed)
    else:
        note_conversations(CONVERSATION_UPDATED, (key for key in changed if key not in started))
