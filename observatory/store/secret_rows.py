"""Stored texts, to be looked through for secrets again, and writing back what is masked in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from observatory.store import archive, search
from observatory.store.budgets import move_budgets
from observatory.store.conversation_changes import set_metadata
from observatory.store.counters import refresh_conversations
from observatory.store.database import (
    execute,
    execute_many,
    fetch_all,
    fetch_one,
)
from observatory.store.event_notes import (
    CONVERSATION_UPDATED,
    forget_project,
    note_conversations,
)
from observatory.store.places import forget_project as forget_places
from observatory.store.projects import merge_visibility
from observatory.store.retention import merge_policies
from observatory.store.rollups import refresh_rollups
from observatory.store.search_language import spaced_message, spaced_title
from observatory.store.totals import read_total, set_total

BATCH_MESSAGES = 500
# Packed details unpack to about eight times their size.
_UNPACKED = 8
_SIZES = f"""
    SELECT m.key, length(m.content) + coalesce(length(m.blocks), 0) + coalesce((
        SELECT sum({_UNPACKED} * coalesce(length(details), 0) + coalesce(length(result), 0)
                   + coalesce(length(parameters), 0))
        FROM tool_uses WHERE message_key = m.key OR result_message_key = m.key), 0)
    FROM messages m WHERE m.key > ? ORDER BY m.key LIMIT {BATCH_MESSAGES}
"""


@dataclass(slots=True)
class StoredMessage:
    """The texts of a message; ``blocks`` and ``notes`` are JSON."""

    key: int
    content: str
    blocks: str | None
    notes: str | None
    cwd: str | None
    git_branch: str | None


@dataclass(slots=True)
class StoredToolUse:
    """The texts of a tool use; ``parameters`` are JSON, ``details`` are packed JSON."""

    key: int
    message_key: int | None
    result_message_key: int | None
    name: str
    server: str | None
    parameters: str | None
    result: str | None
    details: bytes | None


@dataclass(slots=True)
class StoredConversation:
    """What is said of a conversation; ``metadata`` is JSON."""

    key: int
    title: str
    metadata: str
    cwd: str | None
    git_branch: str | None


class StoredSummary(NamedTuple):
    """A title for the conversation that holds a message, and which one that is, if it is known."""

    leaf_id: str
    summary: str
    conversation_key: int | None


def list_message_keys(*, after: int, max_bytes: int) -> list[int]:
    """Return the next messages by their keys: a few hundred, of about so many bytes or one."""
    keys: list[int] = []
    size = 0
    for key, length in fetch_all(_SIZES, (after,)):
        size += length
        if keys and size > max_bytes:
            break
        keys.append(key)
    return keys


def read_messages(keys: Iterable[int]) -> list[StoredMessage]:
    """Return messages in the order of their keys."""
    rows = fetch_all(
        "SELECT key, content, blocks, notes, cwd, git_branch FROM messages"
        " WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",
        (json.dumps(list(keys)),),
    )
    return [StoredMessage(*row) for row in rows]


_TOOL_USES = (
    "SELECT key, message_key, result_message_key, name, server, parameters, result, details"
    " FROM tool_uses"
)


def read_tool_uses(message_keys: Iterable[int]) -> list[StoredToolUse]:
    """Return the tool uses that messages ask for, and those that they have the results of."""
    wanted = json.dumps(list(message_keys))
    rows = fetch_all(
        f"{_TOOL_USES} WHERE message_key IN (SELECT value FROM json_each(?1))"
        f" UNION {_TOOL_USES} WHERE result_message_key IN (SELECT value FROM json_each(?1))",
        (wanted,),
    )
    return [StoredToolUse(*row) for row in rows]


def read_lost_tool_uses() -> Iterator[StoredToolUse]:
    """Yield tool uses that have lost both their messages."""
    rows = fetch_all(
        "SELECT key FROM tool_uses WHERE message_key IS NULL AND result_message_key IS NULL"
    )
    for (key,) in rows:
        row = fetch_one(f"{_TOOL_USES} WHERE key = ?", (key,))
        if row is not None:
            yield StoredToolUse(*row)


def update_texts(messages: list[StoredMessage], uses: list[StoredToolUse]) -> None:
    """Write messages and tool uses back, and index again what belongs to them.

    The index forgets a text by reading it once more: that comes before it is another.
    """
    keys = {message.key for message in messages}
    keys.update(use.message_key for use in uses if use.message_key is not None)
    spaced = dict(
        fetch_all(
            "SELECT message_key, spaced FROM message_cjk"
            " WHERE message_key IN (SELECT value FROM json_each(?))",
            (json.dumps(list(keys)),),
        )
    )
    search.forget(keys)
    execute_many(
        "UPDATE messages SET content = ?, blocks = ?, notes = ?, cwd = ?, git_branch = ?"
        " WHERE key = ?",
        [(m.content, m.blocks, m.notes, m.cwd, m.git_branch, m.key) for m in messages],
    )
    execute_many(
        "UPDATE tool_uses SET name = ?, server = ?, parameters = ?, result = ?, details = ?"
        " WHERE key = ?",
        [(u.name, u.server, u.parameters, u.result, u.details, u.key) for u in uses],
    )
    archive.insert_cjk([(key, again) for key in spaced if (again := _space_again(key))])
    search.index_again(keys)
    changed = fetch_all(
        "SELECT DISTINCT conversation_key FROM messages"
        " WHERE key IN (SELECT value FROM json_each(?))",
        (json.dumps(list(keys)),),
    )
    # Names of tools and paths of files are in the sums, too.
    refresh_rollups(key for (key,) in changed)
    # Who shows them is to read them again.
    note_conversations(CONVERSATION_UPDATED, (key for (key,) in changed))


def _space_again(key: int) -> str:
    """Return the words with Chinese, Japanese or Korean of a message as it is now."""
    row = fetch_one(
        "SELECT text, thinking, tool_result FROM searchable_messages WHERE key = ?", (key,)
    )
    parameters = fetch_all(
        "SELECT parameters FROM tool_uses WHERE message_key = ? AND parameters IS NOT NULL"
        " ORDER BY key",
        (key,),
    )
    texts = [text for text in row or () if text]
    return spaced_message(texts, parameters=[text for (text,) in parameters])


def read_conversations(*, after: int) -> list[StoredConversation]:
    """Return some hundred conversations in the order of their keys."""
    rows = fetch_all(
        "SELECT key, title, metadata, cwd, git_branch FROM conversations"
        f" WHERE key > ? ORDER BY key LIMIT {BATCH_MESSAGES}",
        (after,),
    )
    return [StoredConversation(*row) for row in rows]


def update_conversations(conversations: list[StoredConversation]) -> None:
    """Write back what is said of conversations."""
    execute_many(
        "UPDATE conversations SET title = ?, cjk = ?, cwd = ?, git_branch = ? WHERE key = ?",
        [(c.title, spaced_title(c.title), c.cwd, c.git_branch, c.key) for c in conversations],
    )
    for conversation in conversations:
        set_metadata(conversation.key, json.loads(conversation.metadata))
    refresh_conversations(conversation.key for conversation in conversations)


def read_summaries(*, after: str) -> list[StoredSummary]:
    """Return some hundred summaries in the order of their ids."""
    rows = fetch_all(
        "SELECT s.leaf_id, s.summary, m.conversation_key FROM summaries s"
        f" LEFT JOIN messages m ON m.id = s.leaf_id WHERE s.leaf_id > ?"
        f" ORDER BY s.leaf_id LIMIT {BATCH_MESSAGES}",
        (after,),
    )
    return [StoredSummary(*row) for row in rows]


def update_summaries(summaries: list[StoredSummary]) -> None:
    """Write summaries back."""
    for summary in summaries:
        archive.upsert_summary(summary.leaf_id, summary.summary)


def read_projects() -> list[tuple[int, str, str]]:
    """Return key, path and name of all projects."""
    return [(row[0], row[1], row[2]) for row in fetch_all("SELECT key, path, name FROM projects")]


def update_project(key: int, *, path: str, name: str) -> None:
    """Give a project another path and name, and tell its conversations."""
    before = fetch_one("SELECT path FROM projects WHERE key = ?", (key,))
    assert before is not None
    move_budgets(before[0], to=path)
    changed = execute(
        "UPDATE OR IGNORE projects SET path = ?, name = ? WHERE key = ?", (path, name, key)
    )
    if not changed:
        # There is one of this path by now.
        known = fetch_one("SELECT key FROM projects WHERE path = ?", (path,))
        assert known is not None
        merge_visibility(key, into=known[0])
        merge_policies(key, into=known[0])
        execute(
            "UPDATE conversations SET project_key = (SELECT key FROM projects WHERE path = ?)"
            " WHERE project_key = ?",
            (path, key),
        )
        execute("DELETE FROM projects WHERE key = ?", (key,))
        forget_project(key, into=known[0])
        forget_places(key)
    rows = fetch_all(
        "SELECT c.key FROM conversations c JOIN projects p ON p.key = c.project_key"
        " WHERE p.path = ?",
        (path,),
    )
    refresh_conversations(row[0] for row in rows)


def list_kept_answers() -> list[tuple[str, str, str]]:
    """Return key, path and text of the answers that are kept for requests that come again."""
    rows = fetch_all("SELECT id, path, data FROM idempotency_keys")
    return [(row[0], row[1], row[2]) for row in rows]


def update_kept_answer(key: str, path: str, data: str) -> None:
    """Keep another text for an answer."""
    execute("UPDATE idempotency_keys SET data = ? WHERE id = ? AND path = ?", (data, key, path))


def read_scanned_key(mode: str) -> int:
    """Return the message up to which a scan has come that did not end, or 0."""
    return read_total(_scanned(mode))


def set_scanned_key(mode: str, key: int) -> None:
    """Note up to which message a scan has come; 0 when it has ended."""
    set_total(_scanned(mode), key)


def _scanned(mode: str) -> str:
    return {"mask": "secrets_masked_key", "flag": "secrets_flagged_key"}[mode]


def count_messages(*, after: int) -> int:
    """Return how many messages follow a key."""
    row = fetch_one("SELECT count(*) FROM messages WHERE key > ?", (after,))
    return int(row[0]) if row else 0
