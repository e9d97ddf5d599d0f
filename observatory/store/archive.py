"""The bulk writes of an ingest: rows in, by the thousand, inside the caller's transaction.

The statements are upserts and never REPLACE, which would fire no delete trigger and leave stale
entries in the search index.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from observatory.store.database import execute, execute_many, fetch_all, fetch_one
from observatory.timestamps import milliseconds_between


class KnownMessage(NamedTuple):
    """Where a message is that the archive already holds."""

    key: int
    conversation_key: int
    file_key: int | None
    generation: int
    is_superseded: int = 0


class MessageRow(NamedTuple):
    """A row of ``messages``, in the order of its columns."""

    key: int
    id: str
    conversation_key: int
    position: int
    file_key: int
    generation: int
    role: str
    kind: str
    parent_id: str | None
    copy_of_key: int | None
    api_call_key: int | None
    created_at: str
    model: str | None
    cwd: str | None
    git_branch: str | None
    client_version: str | None
    notes: str | None
    blocks: str | None
    content: str


@dataclass(slots=True)
class ApiCallRow:
    """A row of ``api_calls``; the fields are its columns."""

    key: int
    id: str
    conversation_key: int
    file_key: int | None
    position: int
    message_key: int | None
    is_sidechain: int
    usage_file_key: int | None
    request_id: str | None
    model: str
    created_at: str
    stop_reason: str | None
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    cache_creation_5m_input_tokens: int
    cache_creation_1h_input_tokens: int
    web_search_requests: int
    is_fast: int
    cost_nanodollars: int | None
    usage_quality: str
    input_cost_nanodollars: int | None = None
    output_cost_nanodollars: int | None = None
    cache_write_cost_nanodollars: int | None = None
    cache_read_cost_nanodollars: int | None = None
    uncached_cost_nanodollars: int | None = None
    is_cost_reported: int = 0


@dataclass(slots=True)
class ToolUseRow:
    """A row of ``tool_uses`` without its key; the fields are its columns."""

    conversation_key: int
    tool_use_id: str
    message_key: int | None = None
    result_message_key: int | None = None
    name: str = ""
    server: str | None = None
    status: str = "running"
    is_error: int = 0
    error_category: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    execution_time_ms: int | None = None
    reported_duration_ms: int | None = None
    subagent_id: str | None = None
    parameters: str | None = None
    result: str | None = None
    details: bytes | None = None


API_CALL_COLUMNS = tuple(ApiCallRow.__dataclass_fields__)
TOOL_USE_COLUMNS = tuple(ToolUseRow.__dataclass_fields__)
_values_of_api_call = attrgetter(*API_CALL_COLUMNS)
_values_of_tool_use = attrgetter(*TOOL_USE_COLUMNS)


def _insert(table: str, columns: Iterable[str]) -> str:
    names = tuple(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def _set_excluded(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


_INSERT_MESSAGE = _insert("messages", MessageRow._fields)
_UPSERT_API_CALL = (
    _insert("api_calls", API_CALL_COLUMNS)
    + " ON CONFLICT (key) DO UPDATE SET "
    + _set_excluded(column for column in API_CALL_COLUMNS if column not in ("key", "id"))
)
_UPSERT_TOOL_USE = (
    _insert("tool_uses", TOOL_USE_COLUMNS)
    + " ON CONFLICT (conversation_key, tool_use_id) DO UPDATE SET "
    + _set_excluded(TOOL_USE_COLUMNS[2:])
)


def find_messages(ids: Iterable[str]) -> dict[str, KnownMessage]:
    """Return which of these messages the archive holds, and where."""
    rows = fetch_all(
        "SELECT id, key, conversation_key, file_key, generation, is_superseded FROM messages"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[0]: KnownMessage(*row[1:]) for row in rows}


def find_deleted_messages(ids: Iterable[str]) -> dict[str, set[str]]:
    """Return which of these messages went with conversations that were removed, and with which."""
    rows = fetch_all(
        "SELECT id, conversation_id FROM deleted_messages"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    found: dict[str, set[str]] = {}
    for message_id, conversation_id in rows:
        found.setdefault(message_id, set()).add(conversation_id)
    return found


def insert_deleted_message(message_id: str, conversation_id: str) -> None:
    """Note that a message belongs to a conversation that was removed for good."""
    execute(
        "INSERT INTO deleted_messages (id, conversation_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (message_id, conversation_id),
    )


def find_api_calls(ids: Iterable[str]) -> dict[str, ApiCallRow]:
    """Return which of these model calls the archive holds."""
    rows = fetch_all(
        f"SELECT {', '.join(API_CALL_COLUMNS)} FROM api_calls"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[1]: ApiCallRow(*row) for row in rows}


def find_tool_use(conversation_key: int, tool_use_id: str) -> ToolUseRow | None:
    """Return a tool use of a conversation, or ``None``."""
    row = fetch_one(
        f"SELECT {', '.join(TOOL_USE_COLUMNS)} FROM tool_uses"
        " WHERE conversation_key = ? AND tool_use_id = ?",
        (conversation_key, tool_use_id),
    )
    return ToolUseRow(*row) if row else None


def find_text(message_key: int) -> tuple[str, str] | None:
    """Return role and text of a message."""
    row = fetch_one("SELECT role, content FROM messages WHERE key = ?", (message_key,))
    return (row[0], row[1]) if row else None


def has_result(message_key: int) -> bool:
    """Tell whether a tool use, in whichever conversation, has its result from a message."""
    row = fetch_one("SELECT 1 FROM tool_uses WHERE result_message_key = ?", (message_key,))
    return row is not None


def next_message_key() -> int:
    """Return a key above all messages and above the search index's watermark.

    A key below the watermark would never be indexed, were the newest message deleted.
    """
    row = fetch_one(
        "SELECT max(coalesce((SELECT max(key) FROM messages), 0), value) + 1"
        " FROM totals WHERE name = 'indexed_message_key'"
    )
    assert row is not None
    return int(row[0])


def next_api_call_key() -> int:
    """Return a key above all model calls."""
    row = fetch_one("SELECT coalesce(max(key), 0) + 1 FROM api_calls")
    assert row is not None
    return int(row[0])


def insert_messages(rows: list[MessageRow]) -> None:
    """Insert messages; the calls that they name may follow in the same transaction."""
    execute_many(_INSERT_MESSAGE, rows)


def upsert_api_calls(rows: Iterable[ApiCallRow]) -> None:
    """Insert model calls, or set all columns of known ones."""
    execute_many(_UPSERT_API_CALL, [*map(_values_of_api_call, rows)])


def upsert_tool_uses(rows: Iterable[ToolUseRow]) -> None:
    """Insert tool uses, or set all columns of known ones."""
    execute_many(_UPSERT_TOOL_USE, [*map(_values_of_tool_use, rows)])


def insert_cjk(rows: list[tuple[int, str]]) -> None:
    """Keep the words of messages with Chinese, Japanese or Korean, taken apart: key and text."""
    execute_many("INSERT INTO message_cjk (message_key, spaced) VALUES (?, ?)", rows)


def mark_messages_seen(rows: list[tuple[int, int, int, int | None, int]]) -> None:
    """Note where messages lie in a file that is read again: position, generation, file, call, key.

    Of the call one is noted that was not known.
    """
    execute_many(
        "UPDATE messages SET position = ?, generation = ?, file_key = ?, is_superseded = 0,"
        " api_call_key = coalesce(api_call_key, ?) WHERE key = ?",
        rows,
    )


def mark_messages_superseded(file_key: int, *, generation: int) -> set[int]:
    """Mark what a rewritten file no longer holds: its messages of earlier generations.

    Returns:
        The conversations of the messages that were not marked before.
    """
    rows = fetch_all(
        "UPDATE messages SET is_superseded = 1 WHERE file_key = ? AND generation < ?"
        " AND is_superseded = 0 RETURNING conversation_key",
        (file_key, generation),
    )
    return {row[0] for row in rows}


def mark_rewound_branch(conversation_key: int, parent_id: str) -> None:
    """Mark what lies between two prompts that answer the same message: it was rewound.

    A person who goes back and types something else makes a second prompt with the first one's
    parent. A transcript grows in one line, so what was abandoned is all that lies between them.
    """
    _mark_rewound(f"{_PROMPTS} AND parent_id = ?2", (conversation_key, parent_id))


def mark_rewound_branches(conversation_key: int) -> None:
    """Mark all that was rewound in a conversation, and nothing else in it."""
    execute(
        "UPDATE messages SET is_on_main_branch = 1 WHERE conversation_key = ?"
        " AND is_on_main_branch = 0",
        (conversation_key,),
    )
    _mark_rewound(f"{_PROMPTS} AND parent_id IS NOT NULL", (conversation_key,))


_PROMPTS = (
    "SELECT min(position), max(position) FROM messages WHERE conversation_key = ?1"
    " AND kind IN ('prompt', 'queued_prompt') AND is_superseded = 0"
)


def _mark_rewound(prompts: str, values: tuple[Any, ...]) -> None:
    branches = fetch_all(f"{prompts} GROUP BY parent_id HAVING count(*) > 1", values)
    execute_many(
        "UPDATE messages SET is_on_main_branch = 0"
        " WHERE conversation_key = ? AND position >= ? AND position < ?",
        [(values[0], first, last) for first, last in branches],
    )


def interrupt_tool_uses(conversation_key: int, *, before: int) -> list[str]:
    """Mark tool uses without a result that a later prompt, at a position, has overtaken.

    Returns:
        Their ids.
    """
    rows = fetch_all(
        "UPDATE tool_uses SET status = 'interrupted'"
        " WHERE conversation_key = ?1 AND status = 'running' AND message_key IN"
        " (SELECT key FROM messages WHERE conversation_key = ?1 AND position < ?2)"
        " RETURNING tool_use_id",
        (conversation_key, before),
    )
    return [row[0] for row in rows]


# Those of a conversation, with those that it has in common with the one it was copied from.
_UNLINKED_TASKS = """
    WITH tasks AS (
        SELECT t.key, t.tool_use_id, m.position, t.parameters FROM tool_uses t
        JOIN messages m ON m.key = t.message_key
        WHERE t.conversation_key = ?1 AND t.subagent_id IS NULL AND t.name IN ('Task', 'Agent')
        UNION ALL
        SELECT t.key, t.tool_use_id, m.position, t.parameters FROM messages m
        JOIN tool_uses t ON t.message_key = m.copy_of_key
        WHERE m.conversation_key = ?1 AND m.copy_of_key IS NOT NULL
            AND t.subagent_id IS NULL AND t.name IN ('Task', 'Agent')
    )
    SELECT key, tool_use_id, position, trim(json_extract(parameters, '$.prompt'),
        char(32, 9, 10, 13)) FROM tasks ORDER BY position, key
"""


class UnlinkedTasks:
    """The tasks of a conversation of which it is not known which subagents they started."""

    def __init__(self, conversation_key: int) -> None:
        self._conversation_key = conversation_key
        # By tool use: key and prompt; by prompt: the positions by tool use.
        self._tasks: dict[str, tuple[int, str]] = {}
        self._by_prompt: dict[str, dict[str, int]] = {}
        for key, tool_use_id, position, prompt in fetch_all(_UNLINKED_TASKS, (conversation_key,)):
            self._tasks[tool_use_id] = (key, prompt)
            self._by_prompt.setdefault(prompt, {})[tool_use_id] = position

    def link(self, tool_use_id: str, *, subagent_id: str) -> None:
        """Note which subagent a tool use started, unless that is known."""
        task = self._tasks.pop(tool_use_id, None)
        if task is None:
            execute(
                "UPDATE tool_uses SET subagent_id = coalesce(subagent_id, ?)"
                " WHERE conversation_key = ? AND tool_use_id = ?",
                (subagent_id, self._conversation_key, tool_use_id),
            )
            return
        key, prompt = task
        del self._by_prompt[prompt][tool_use_id]
        execute("UPDATE tool_uses SET subagent_id = ? WHERE key = ?", (subagent_id, key))

    def link_first(self, prompt: str, *, subagent_id: str, before: int) -> bool:
        """Note that the first task of this prompt started a subagent, unless it has its task.

        A task stands before its subagent: only those above the position ``before`` are looked at.

        Returns:
            Whether there is such a task.
        """
        first = next(iter(self._by_prompt.get(prompt, {}).items()), None)
        if first is None or first[1] >= before or self._is_linked(subagent_id):
            return False
        self.link(first[0], subagent_id=subagent_id)
        return True

    def _is_linked(self, subagent_id: str) -> bool:
        return find_task_of(subagent_id, parent_key=self._conversation_key) is not None


def find_task_of(subagent_id: str, *, parent_key: int) -> tuple[str | None, str | None] | None:
    """Return description and agent type of the task that started a subagent, or ``None``.

    The message that holds the task may be a copy of another conversation's.
    """
    row = fetch_one(
        "SELECT json_extract(t.parameters, '$.description'),"
        " json_extract(t.parameters, '$.subagent_type') FROM tool_uses t"
        " WHERE t.subagent_id = ?1 AND (t.conversation_key = ?2 OR EXISTS (SELECT 1 FROM messages m"
        " WHERE m.copy_of_key = t.message_key AND m.conversation_key = ?2))"
        " ORDER BY t.message_key LIMIT 1",
        (subagent_id, parent_key),
    )
    if row is None:
        return None
    description, agent_type = (value if isinstance(value, str) else None for value in row)
    return description, agent_type


def upsert_summary(leaf_id: str, summary: str) -> None:
    """Keep the title for the conversation that holds a message; the last one wins."""
    execute(
        "INSERT INTO summaries (leaf_id, summary) VALUES (?, ?)"
        " ON CONFLICT (leaf_id) DO UPDATE SET summary = excluded.summary",
        (leaf_id, summary),
    )


def find_summarised(message_ids: Iterable[str]) -> set[int]:
    """Return the conversations of those messages for which there is a summary."""
    rows = fetch_all(
        "SELECT DISTINCT m.conversation_key FROM json_each(?) AS wanted"
        " CROSS JOIN summaries s ON s.leaf_id = wanted.value JOIN messages m ON m.id = s.leaf_id",
        (json.dumps(list(message_ids)),),
    )
    return {row[0] for row in rows}


def find_summary(conversation_key: int) -> str | None:
    """Return the summary whose message lies last in a conversation, or ``None``."""
    row = fetch_one(
        "SELECT s.summary FROM summaries s JOIN messages m ON m.id = s.leaf_id"
        " WHERE m.conversation_key = ? ORDER BY m.position DESC LIMIT 1",
        (conversation_key,),
    )
    return row[0] if row else None


def find_tool_use_ids(conversation_key: int, tool_use_ids: Iterable[str]) -> set[str]:
    """Return which of these tool uses a conversation already has."""
    rows = fetch_all(
        "SELECT tool_use_id FROM tool_uses WHERE conversation_key = ?"
        " AND tool_use_id IN (SELECT value FROM json_each(?))",
        (conversation_key, json.dumps(list(tool_use_ids))),
    )
    return {row[0] for row in rows}


def find_last_sidechain(file_key: int, *, generation: int, main_key: int) -> int | None:
    """Return the conversation of the last sidechain read from a session file, or ``None``."""
    row = fetch_one(
        "SELECT conversation_key FROM messages WHERE file_key = ? AND generation = ?"
        " AND conversation_key <> ? ORDER BY position DESC, key DESC LIMIT 1",
        (file_key, generation, main_key),
    )
    return row[0] if row else None


def find_sidechain_at(file_key: int, line: int, *, main_key: int) -> int | None:
    """Return the conversation of the sidechain that was read from a line of a file, or ``None``."""
    row = fetch_one(
        "SELECT conversation_key FROM messages WHERE file_key = ? AND position = ?"
        " AND conversation_key <> ? ORDER BY key LIMIT 1",
        (file_key, line, main_key),
    )
    return row[0] if row else None


def reopen_messages(file_key: int, *, after: int) -> dict[int, int]:
    """Mark the messages behind a line as superseded, until they are seen again.

    They stood on a last line without a newline, which the client may have taken back.

    Returns:
        Their conversations, by their keys.
    """
    rows = fetch_all(
        "UPDATE messages SET is_superseded = 1 WHERE file_key = ? AND position > ?"
        " RETURNING key, conversation_key",
        (file_key, after),
    )
    return dict(rows)


def adopt_rows(old_file_key: int, *, file_key: int, generation: int) -> None:
    """Give what was read from a file that is gone to the file that holds the same now."""
    keys = (file_key, old_file_key)
    execute(
        "UPDATE messages SET file_key = ?, generation = ? WHERE file_key = ?",
        (file_key, generation, old_file_key),
    )
    execute("UPDATE api_calls SET file_key = ? WHERE file_key = ?", keys)
    execute("UPDATE api_calls SET usage_file_key = ? WHERE usage_file_key = ?", keys)


_RESULT = tuple(
    column
    for column in TOOL_USE_COLUMNS
    if column
    not in (
        "conversation_key",
        "tool_use_id",
        "message_key",
        "name",
        "subagent_id",
        "server",
        "started_at",
        "parameters",
        "execution_time_ms",
    )
)
_STRAY_RESULTS = """
    SELECT stray.key AS stray_key, original.key AS original_key,
        original.conversation_key AS original_conversation_key
    FROM tool_uses stray
    JOIN messages copied ON copied.conversation_key = stray.conversation_key
        AND copied.copy_of_key IS NOT NULL
    JOIN tool_uses original ON original.message_key = copied.copy_of_key
        AND original.tool_use_id = stray.tool_use_id
    WHERE stray.conversation_key IN (SELECT value FROM json_each(?)) AND stray.message_key IS NULL
        AND stray.result_message_key IS NOT NULL AND original.result_message_key IS NULL
"""


def move_results_to_originals(conversation_keys: Iterable[int]) -> set[int]:
    """Bring results to their tool uses where only the use was copied from another conversation.

    A conversation that was copied in the middle of a tool use has the use in common with its copy
    and the result alone. Whichever of the two was read first keeps the use.

    Returns:
        The conversations whose tool uses got a result.
    """
    moved: set[int] = set()
    rows = fetch_all(_STRAY_RESULTS, (json.dumps(list(conversation_keys)),))
    for stray_key, original_key, conversation_key in rows:
        is_moved = execute(
            f"UPDATE tool_uses SET ({', '.join(_RESULT)}, subagent_id) = (SELECT"
            f" {', '.join(_RESULT)}, coalesce(tool_uses.subagent_id, stray.subagent_id)"
            " FROM tool_uses AS stray WHERE key = ?2)"
            " WHERE key = ?1 AND result_message_key IS NULL",
            (original_key, stray_key),
        )
        if not is_moved:
            # Another copy's result came there first; this one stays with its own.
            continue
        execute("DELETE FROM tool_uses WHERE key = ?", (stray_key,))
        use = fetch_one(
            "SELECT started_at, finished_at FROM tool_uses WHERE key = ?", (original_key,)
        )
        if use and None not in use:
            execute(
                "UPDATE tool_uses SET execution_time_ms = ? WHERE key = ?",
                (milliseconds_between(*use), original_key),
            )
        moved.add(conversation_key)
    return moved


def find_conversation_of(message_key: int) -> int | None:
    """Return the key of the conversation of a message, or ``None`` when there is none yet."""
    row = fetch_one("SELECT conversation_key FROM messages WHERE key = ?", (message_key,))
    return row[0] if row else None
