"""What an ingest must know of a conversation to go on with it, and writing that back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from observatory.store.database import execute, execute_many, fetch_all, fetch_one
from observatory.store.search_language import spaced_title

# Where a title comes from: the lower rank wins, and among equals the later one up to SUMMARY.
USER_TITLE, CUSTOM, RENAMED, AI, SUMMARY, PROMPT, COMMAND, NO_TITLE = 0, 1, 2, 3, 4, 5, 6, 9


@dataclass(slots=True)
class ConversationState:
    """The columns of a conversation that a transcript sets; counters are recounted instead."""

    key: int
    id: str
    kind: str
    parent_key: int | None
    project_key: int | None
    agent_id: str | None
    agent_type: str | None
    workflow_run_id: str | None
    title: str
    title_rank: int
    created_at: str
    updated_at: str
    cwd: str | None
    git_branch: str | None
    client_version: str | None
    entrypoint: str | None
    copied_from_key: int | None
    message_count: int

    def offer_title(self, rank: int, title: str) -> None:
        """Take a title if it is from a better source than the present one, or a later equal."""
        if not title:
            return
        if rank < self.title_rank or (rank == self.title_rank and rank <= SUMMARY):
            self.title, self.title_rank = title, rank

    def include_message(self, timestamp: str) -> None:
        """Count a message, and stretch first and last activity to include its time."""
        if self.message_count == 0:
            self.created_at = self.updated_at = timestamp
        self.message_count += 1
        if timestamp < self.created_at:
            self.created_at = timestamp
        if timestamp > self.updated_at:
            self.updated_at = timestamp


_COLUMNS = tuple(ConversationState.__dataclass_fields__)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM conversations WHERE "
_UPDATE = (
    "UPDATE conversations SET "
    + ", ".join(f"{column} = ?" for column in _COLUMNS[1:-1])
    + ", cjk = ? WHERE key = ?"
)


def find_state(conversation_id: str) -> ConversationState | None:
    """Return the state of a conversation by its public id, or ``None``."""
    row = fetch_one(_SELECT + "id = ?", (conversation_id,))
    return ConversationState(*row) if row else None


def get_state(key: int) -> ConversationState:
    """Return the state of a conversation that is known to exist."""
    row = fetch_one(_SELECT + "key = ?", (key,))
    assert row is not None
    return ConversationState(*row)


def insert_conversation(conversation_id: str, *, kind: str, timestamp: str) -> ConversationState:
    """Insert a conversation whose first activity is at a time, and return its state."""
    row = fetch_one(
        "INSERT INTO conversations (id, kind, created_at, updated_at) VALUES (?, ?, ?, ?)"
        " RETURNING " + ", ".join(_COLUMNS),
        (conversation_id, kind, timestamp, timestamp),
    )
    assert row is not None
    return ConversationState(*row)


def update_conversation(state: ConversationState) -> None:
    """Write a state back, without its count of messages, which is recounted."""
    key, *values, _ = astuple(state)
    execute(_UPDATE, (*values, spaced_title(state.title), key))


def follow_into_trash(keys: Iterable[int]) -> None:
    """Move new subagents of a conversation that is in the trash there, too."""
    execute_many(
        "UPDATE conversations SET deleted_at = parent.deleted_at FROM conversations parent"
        " WHERE parent.key = conversations.parent_key AND parent.deleted_at IS NOT NULL"
        " AND conversations.key = ?",
        [(key,) for key in keys],
    )


def take_times_of_subagents(keys: Iterable[int]) -> None:
    """Give conversations without messages of their own the times of their subagents, if any."""
    execute_many(
        "UPDATE conversations SET (created_at, updated_at) = (times.first, times.last) FROM ("
        " SELECT parent_key, min(created_at) AS first, max(updated_at) AS last"
        " FROM conversations child WHERE parent_key = ?1 AND EXISTS"
        " (SELECT 1 FROM messages WHERE conversation_key = child.key) GROUP BY parent_key"
        ") AS times WHERE key = times.parent_key",
        [(key,) for key in keys],
    )


def find_untyped_subagents(paths: Iterable[str]) -> dict[str, int]:
    """Return the keys of those subagents without a type that have one of these files, by file."""
    rows = fetch_all(
        "SELECT f.path, c.key FROM json_each(?) wanted"
        " CROSS JOIN transcript_files f ON f.path = wanted.value"
        " JOIN conversations c ON c.key = f.conversation_key"
        " WHERE c.kind = 'subagent' AND c.agent_type IS NULL",
        (json.dumps(list(paths)),),
    )
    return dict(rows)


def set_agent_types(types: Mapping[int, str]) -> None:
    """Set the types of subagents, by their keys."""
    execute_many(
        "UPDATE conversations SET agent_type = ? WHERE key = ?",
        [(agent_type, key) for key, agent_type in types.items()],
    )
