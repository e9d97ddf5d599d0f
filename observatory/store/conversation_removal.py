"""Removing a conversation for good: afterwards the archive is as if it had never been read.

What other conversations copied from it goes to them: text, tool uses and model calls have a new
owner. What they only showed of it goes, too.
"""

from __future__ import annotations

import json
from typing import Any

from observatory.errors import NotFound, PreconditionFailed
from observatory.store import search
from observatory.store.archive import move_results_to_originals
from observatory.store.conversations import family
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, execute_many, fetch_all, fetch_one, writing
from observatory.store.idempotency import forget_answers_about
from observatory.store.transcript_files import find_files_of
from observatory.timestamps import milliseconds_between, now


def delete_conversation(conversation_id: str, *, revision: int | None = None) -> list[str]:
    """Really remove a conversation and its subagents: rows, entries in the index, counts.

    Its transcript, when it is read again, does not bring it back.

    Returns:
        The paths of the files that they were read from.

    Args:
        conversation_id: Which one, also in the trash.
        revision: Remove it only if it was not changed after this revision of the archive.

    Raises:
        NotFound: There is none.
        PreconditionFailed: It was changed after that revision.
    """
    with writing():
        row = fetch_one("SELECT key, revision FROM conversations WHERE id = ?", (conversation_id,))
        if row is None:
            raise NotFound("conversation", conversation_id)
        if revision is not None and row[1] > revision:
            raise PreconditionFailed
        keys = family(row[0])
        paths = [path for key in keys for _, path in find_files_of(key)]
        for key in keys:
            _delete(key)
        forget_answers_about(conversation_id)
        return paths


# The first copy of each message: its key, its conversation, and the original with its call.
_HEIRS = """
    SELECT min(c.key), c.conversation_key, o.key, o.id, o.api_call_key
    FROM messages o JOIN messages c ON c.copy_of_key = o.key
    WHERE o.conversation_key = ? GROUP BY o.key ORDER BY o.position, o.key
"""


def _delete(key: int) -> None:
    linked = fetch_all(
        "SELECT key FROM conversations WHERE parent_key = ?1 OR copied_from_key = ?1"
        " UNION SELECT c.conversation_key FROM messages c JOIN messages o ON o.key = c.copy_of_key"
        " WHERE o.conversation_key = ?1"
        " UNION SELECT t.conversation_key FROM tool_uses t"
        " JOIN messages r ON r.key = t.result_message_key WHERE r.conversation_key = ?1"
        " UNION SELECT k.conversation_key FROM messages r"
        " JOIN tool_uses t ON t.result_message_key = r.key"
        " JOIN messages k ON k.copy_of_key = t.message_key WHERE r.conversation_key = ?1"
        " UNION SELECT m.conversation_key FROM api_calls a"
        " JOIN messages m ON m.api_call_key = a.key WHERE a.conversation_key = ?1",
        (key,),
    )
    heirs = fetch_all(_HEIRS, (key,))
    # While the index can still see what it is to forget.
    execute(
        "DELETE FROM message_search WHERE rowid IN (SELECT key FROM messages"
        " WHERE conversation_key = ? AND copy_of_key IS NULL AND key <="
        " (SELECT value FROM totals WHERE name = 'indexed_message_key'))",
        (key,),
    )
    _hand_over_texts(heirs)
    _hand_over_tool_uses(heirs)
    _take_back_results(key)
    _hand_over_calls(key)
    execute(
        "UPDATE conversations SET copied_from_key = (SELECT o.conversation_key FROM messages m"
        " JOIN messages o ON o.key = m.copy_of_key WHERE m.conversation_key = conversations.key"
        " ORDER BY m.position LIMIT 1) WHERE copied_from_key = ?",
        (key,),
    )
    execute(
        "INSERT INTO deleted_conversations (id, deleted_at, kind)"
        " SELECT id, ?, kind FROM conversations WHERE key = ? ON CONFLICT DO NOTHING",
        (now(), key),
    )
    # A sidechain inside its session's file, and a title in any file, are told by messages alone.
    execute(
        "INSERT INTO deleted_messages (id, conversation_id) SELECT m.id, c.id FROM messages m"
        " JOIN conversations c ON c.key = m.conversation_key WHERE c.key = ?1"
        " AND (c.parent_key IS NOT NULL"
        "      OR NOT EXISTS (SELECT 1 FROM json_each(?2) WHERE value = m.key))"
        " ON CONFLICT DO NOTHING",
        (key, json.dumps([row[2] for row in heirs])),
    )
    execute(
        "DELETE FROM summaries WHERE leaf_id IN (SELECT id FROM deleted_messages"
        " WHERE conversation_id = (SELECT id FROM conversations WHERE key = ?))",
        (key,),
    )
    project = fetch_one("SELECT project_key FROM conversations WHERE key = ?", (key,))
    execute("DELETE FROM conversations WHERE key = ?", (key,))
    execute(
        "DELETE FROM projects WHERE key = ?1"
        " AND NOT EXISTS (SELECT 1 FROM conversations WHERE project_key = ?1)",
        project or (None,),
    )
    # An heir has the id by which transcripts know the message.
    execute_many("UPDATE messages SET id = ? WHERE key = ?", [(row[3], row[0]) for row in heirs])
    search.index_again(row[0] for row in heirs)
    refresh_conversations({row[0] for row in linked} - {key})


def _hand_over_texts(heirs: list[tuple[Any, ...]]) -> None:
    pairs = [(heir, original) for heir, _, original, *_ in heirs]
    execute_many(
        "INSERT INTO message_cjk (message_key, spaced)"
        " SELECT ?, spaced FROM message_cjk WHERE message_key = ?",
        pairs,
    )
    execute_many(
        "UPDATE messages SET copy_of_key = NULL, (content, blocks) ="
        " (SELECT content, blocks FROM messages WHERE key = ?2) WHERE key = ?1",
        pairs,
    )
    execute_many("UPDATE messages SET copy_of_key = ? WHERE copy_of_key = ?", pairs)
    # What stays behind of these goes with its message.
    execute_many(
        "UPDATE OR IGNORE secret_findings SET message_key = ? WHERE message_key = ?", pairs
    )


def _hand_over_tool_uses(heirs: list[tuple[Any, ...]]) -> None:
    execute_many(
        "UPDATE tool_uses SET result_message_key = ? WHERE result_message_key = ?",
        [(heir, original) for heir, _, original, *_ in heirs],
    )
    for heir, conversation_key, original, *_ in heirs:
        uses = fetch_all(
            "SELECT key, tool_use_id, started_at FROM tool_uses WHERE message_key = ?", (original,)
        )
        for use, tool_use_id, started_at in uses:
            own = fetch_one(
                "SELECT key, finished_at FROM tool_uses"
                " WHERE conversation_key = ? AND tool_use_id = ?",
                (conversation_key, tool_use_id),
            )
            if own is None:
                execute(
                    "UPDATE tool_uses SET conversation_key = ?, message_key = ? WHERE key = ?",
                    (conversation_key, heir, use),
                )
                continue
            # The copy has a result of its own for this use.
            took = (
                milliseconds_between(started_at, own[1])
                if started_at is not None and own[1] is not None
                else None
            )
            execute(
                "UPDATE tool_uses SET message_key = ?1, execution_time_ms = ?2, (name, server,"
                " started_at, parameters, subagent_id) = (SELECT name, server, started_at,"
                " parameters, coalesce(tool_uses.subagent_id, t.subagent_id)"
                " FROM tool_uses t WHERE key = ?3) WHERE key = ?4",
                (heir, took, use, own[0]),
            )
            _give_back_result(use)


def _give_back_result(use: int) -> None:
    """Leave a tool use that has another owner now to the conversation that its result is from."""
    execute(
        "UPDATE OR IGNORE tool_uses SET conversation_key = r.conversation_key, message_key = NULL,"
        " name = '', server = NULL, started_at = NULL, parameters = NULL,"
        " execution_time_ms = NULL, subagent_id = NULL FROM messages r"
        " WHERE tool_uses.key = ? AND r.key = tool_uses.result_message_key"
        " AND r.conversation_key <> tool_uses.conversation_key",
        (use,),
    )


def _take_back_results(key: int) -> None:
    """Leave nothing of a conversation in the tool uses of others that it had a result for.

    They may get the result that another copy has.
    """
    taken = fetch_all(
        "UPDATE tool_uses SET result_message_key = NULL, result = NULL, details = NULL,"
        " status = 'interrupted', is_error = 0, error_category = NULL, finished_at = NULL,"
        " execution_time_ms = NULL, reported_duration_ms = NULL"
        " WHERE conversation_key <> ?1 AND result_message_key IN"
        " (SELECT key FROM messages WHERE conversation_key = ?1) RETURNING message_key",
        (key,),
    )
    copies = fetch_all(
        "SELECT DISTINCT conversation_key FROM messages WHERE conversation_key <> ?"
        " AND copy_of_key IN (SELECT value FROM json_each(?))",
        (key, json.dumps([row[0] for row in taken])),
    )
    move_results_to_originals(row[0] for row in copies)


# Of a model call, the lines in other conversations: the first conversation's last one is first.
_OTHER_LINES = """
    SELECT a.key, m.key FROM api_calls a
    JOIN messages m ON m.api_call_key = a.key AND m.conversation_key <> a.conversation_key
    WHERE a.conversation_key = ? AND m.copy_of_key IS NULL
    ORDER BY a.key, m.conversation_key, m.position DESC, m.key DESC
"""


def _hand_over_calls(key: int) -> None:
    """Let another conversation with lines of a model call have it, by its last line as always."""
    last: dict[int, int] = {}
    for call, message in fetch_all(_OTHER_LINES, (key,)):
        last.setdefault(call, message)
    execute_many(
        "UPDATE api_calls SET message_key = ?1, (conversation_key, position, file_key,"
        " usage_file_key, is_sidechain) = (SELECT m.conversation_key, m.position, m.file_key,"
        " m.file_key, c.kind = 'subagent' FROM messages m"
        " JOIN conversations c ON c.key = m.conversation_key WHERE m.key = ?1) WHERE key = ?2",
        [(message, call) for call, message in last.items()],
    )


def is_deleted(conversation_id: str, *, kind: str) -> bool:
    """Tell whether a conversation that a transcript names was removed for good.

    One of two with the same name has its kind appended (ingest/applying.py).
    """
    row = fetch_one(
        "SELECT 1 FROM deleted_conversations WHERE id IN (?1, ?1 || '.' || ?2)"
        " AND kind IN (?2, '')",
        (conversation_id, kind),
    )
    return row is not None
