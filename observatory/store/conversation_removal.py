"""Removing a conversation for good: afterwards the archive is as if it had never been read.

What other conversations copied from it goes to them: text, tool uses and model calls have a new
owner. What they only showed of it goes, too.

A large one takes a while, for the search index has to read again what it forgets. So it is done in
short transactions, between which others write. The first hides the conversation and notes that it
is removed; a removal that was interrupted is ended by the next ingest.
"""

from __future__ import annotations

import json
from typing import Any

from observatory.errors import NotFound, PreconditionFailed
from observatory.store import search
from observatory.store.archive import insert_cjk, move_results_to_originals
from observatory.store.conversations import family, find_untrashed
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, execute_many, fetch_all, fetch_one, writing
from observatory.store.event_notes import forget_conversation, note_deletions
from observatory.store.idempotency import forget_answers_about
from observatory.store.projects import delete_empty_project
from observatory.store.scopes import Scope
from observatory.store.transcript_files import find_files_of
from observatory.timestamps import milliseconds_between, now

# So much text is taken out of the search index in one transaction: some hundredths of a second,
# up to some tenths on a busy machine.
BATCH_CHARACTERS = 500_000


def delete_conversation(
    conversation_id: str, *, scope: Scope, revision: int | None = None
) -> list[str]:
    """Really remove a conversation and its subagents: rows, entries in the index, counts.

    Its transcript, when it is read again, does not bring it back.

    Args:
        conversation_id: Which one, also in the trash.
        scope: Whose conversations are there at all; subagents go with what started them.
        revision: Remove it only if it was not changed after this revision of the archive.

    Returns:
        The paths of the files that they were read from.

    Raises:
        NotFound: There is none.
        PreconditionFailed: It was changed after that revision.
    """
    keys = begin_removal(conversation_id, scope=scope, revision=revision)
    paths = [path for key in keys for _, path in find_files_of(key)]
    for key in reversed(keys):
        while remove_some(key):
            pass
    return paths


def begin_removal(conversation_id: str, *, scope: Scope, revision: int | None = None) -> list[int]:
    """Hide a conversation and its subagents, and note that they are removed.

    Their rows stay until ``remove_some`` takes them. Arguments and errors are those of
    ``delete_conversation``.

    Returns:
        Their keys; what started others comes before those.
    """
    with writing():
        row = fetch_one(
            "SELECT key, revision FROM conversations WHERE id = ?"
            + scope.and_there("conversations"),
            (conversation_id,),
        )
        if row is None:
            raise NotFound("conversation", conversation_id)
        if revision is not None and row[1] > revision:
            raise PreconditionFailed
        keys = family(row[0])
        moment = now()
        execute_many(
            "INSERT INTO deleted_conversations (id, deleted_at, kind)"
            " SELECT id, ?, kind FROM conversations WHERE key = ? ON CONFLICT DO NOTHING",
            [(moment, key) for key in keys],
        )
        execute_many(
            "UPDATE conversations SET deleted_at = ? WHERE key = ?",
            [(moment, key) for key in find_untrashed(keys)],
        )
        note_deletions(keys, is_permanent=True)
        for key in keys:
            forget_answers_about(_read_id(key))
        refresh_conversations(keys)
    return keys


def _read_id(key: int) -> str:
    row = fetch_one("SELECT id FROM conversations WHERE key = ?", (key,))
    assert row is not None
    return str(row[0])


def list_removals() -> list[int]:
    """Return the keys of conversations that are being removed, in the order to go on with them."""
    return [
        key
        for (key,) in fetch_all(
            # In this order: else each conversation is read, to find the few that are in the other.
            "SELECT c.key FROM deleted_conversations d"
            " CROSS JOIN conversations c ON c.id = d.id AND c.kind = d.kind ORDER BY c.key DESC"
        )
    ]


def remove_some(key: int) -> bool:
    """Remove some rows of a conversation, in a short transaction; tell whether any are left."""
    with writing():
        if _delete_lone_messages(key):
            return True
        _delete(key)
        return False


# Messages that no other conversation has a copy of.
_LONE_MESSAGES = """
    SELECT key, length(content) FROM messages o WHERE conversation_key = ?
        AND NOT EXISTS (SELECT 1 FROM messages c WHERE c.copy_of_key = o.key)
    LIMIT 1000
"""


def _delete_lone_messages(key: int) -> bool:
    """Delete some messages that nobody else has; tell whether there were any."""
    some: list[int] = []
    characters = 0
    for message, length in fetch_all(_LONE_MESSAGES, (key,)):
        some.append(message)
        characters += length
        if characters > BATCH_CHARACTERS:
            break
    if not some:
        return False
    wanted = json.dumps(some)
    search.forget(some)
    _keep_in_mind(key, wanted)
    touched = _take_back_results(key, wanted)
    execute("DELETE FROM messages WHERE key IN (SELECT value FROM json_each(?))", (wanted,))
    refresh_conversations(touched)
    return True


def _keep_in_mind(key: int, messages: str) -> None:
    """Note which messages are removed: a sidechain inside its session's file is told by them.

    So is a title in any file.
    """
    execute(
        "INSERT INTO deleted_messages (id, conversation_id) SELECT m.id, c.id FROM messages m"
        " JOIN conversations c ON c.key = m.conversation_key WHERE c.key = ?"
        " AND m.key IN (SELECT value FROM json_each(?)) ON CONFLICT DO NOTHING",
        (key, messages),
    )
    execute(
        "DELETE FROM summaries WHERE leaf_id IN (SELECT id FROM messages"
        " WHERE key IN (SELECT value FROM json_each(?)))",
        (messages,),
    )


# The first copy of each message: its key, its conversation, and the original with its call.
_HEIRS = """
    SELECT min(c.key), c.conversation_key, o.key, o.id, o.api_call_key
    FROM messages o JOIN messages c ON c.copy_of_key = o.key
    WHERE o.conversation_key = ? GROUP BY o.key ORDER BY o.position, o.key
"""


def _delete(key: int) -> None:
    """Delete a conversation that holds nothing but what others have copies of."""
    conversation = fetch_one("SELECT kind, project_key FROM conversations WHERE key = ?", (key,))
    if conversation is None:
        # Somebody else was asked for it, too.
        return
    kind, project_key = conversation
    linked = fetch_all(
        "SELECT key FROM conversations WHERE parent_key = ?1 OR copied_from_key = ?1"
        " UNION SELECT c.conversation_key FROM messages c JOIN messages o ON o.key = c.copy_of_key"
        " WHERE o.conversation_key = ?1"
        " UNION SELECT m.conversation_key FROM api_calls a"
        " JOIN messages m ON m.api_call_key = a.key WHERE a.conversation_key = ?1",
        (key,),
    )
    heirs = fetch_all(_HEIRS, (key,))
    originals = [row[2] for row in heirs]
    if kind == "subagent":
        _keep_in_mind(key, json.dumps(originals))
    # While the index can still see what it is to forget.
    spaced = fetch_all(
        "SELECT message_key, spaced FROM message_cjk"
        " WHERE message_key IN (SELECT value FROM json_each(?))",
        (json.dumps(originals),),
    )
    search.forget(originals)
    _hand_over_texts(heirs, dict(spaced))
    _hand_over_tool_uses(heirs)
    _hand_over_calls(key)
    execute(
        "UPDATE conversations SET copied_from_key = (SELECT o.conversation_key FROM messages m"
        " JOIN messages o ON o.key = m.copy_of_key WHERE m.conversation_key = conversations.key"
        " ORDER BY m.position LIMIT 1) WHERE copied_from_key = ?",
        (key,),
    )
    execute("DELETE FROM conversations WHERE key = ?", (key,))
    forget_conversation(key)
    delete_empty_project(project_key)
    # An heir has the id by which transcripts know the message.
    execute_many("UPDATE messages SET id = ? WHERE key = ?", [(row[3], row[0]) for row in heirs])
    search.index_again(row[0] for row in heirs)
    refresh_conversations({row[0] for row in linked} - {key})


def _hand_over_texts(heirs: list[tuple[Any, ...]], spaced: dict[int, str]) -> None:
    pairs = [(heir, original) for heir, _, original, *_ in heirs]
    insert_cjk([(heir, spaced[original]) for heir, original in pairs if original in spaced])
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


def _take_back_results(key: int, messages: str) -> set[int]:
    """Leave nothing of some messages in the tool uses that have a result from them.

    Those are of others, or will be. They may get the result that another copy has.

    Returns:
        The conversations whose tool uses, or copies of them, have another result now.
    """
    taken = fetch_all(
        "UPDATE tool_uses SET result_message_key = NULL, result = NULL, details = NULL,"
        " status = 'interrupted', is_error = 0, error_category = NULL, finished_at = NULL,"
        " execution_time_ms = NULL, reported_duration_ms = NULL"
        " WHERE result_message_key IN (SELECT value FROM json_each(?))"
        " RETURNING conversation_key, message_key",
        (messages,),
    )
    copies = fetch_all(
        "SELECT DISTINCT conversation_key FROM messages WHERE conversation_key <> ?"
        " AND copy_of_key IN (SELECT value FROM json_each(?))",
        (key, json.dumps([row[1] for row in taken])),
    )
    touched = {row[0] for row in copies}
    return (touched | {row[0] for row in taken} | move_results_to_originals(touched)) - {key}


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
