"""What users change: conversations of their own, and titles, tags and metadata of any.

A conversation that came from a transcript keeps what the transcript says; a title that a user gave
has the best rank there is, so that no later reading replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from observatory.errors import Conflict, NotFound, PreconditionFailed
from observatory.store.conversation_states import USER_TITLE
from observatory.store.conversations import IN_TRASH, family, find_untrashed
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, execute_many, fetch_one, writing
from observatory.store.event_notes import (
    note_deletions,
)
from observatory.store.retention import note_restored
from observatory.store.scopes import Scope
from observatory.store.search_language import spaced_title
from observatory.store.secrets import Found, delete_findings_of, insert_found
from observatory.timestamps import now

MAX_TAGS = 50


def update_conversation(
    conversation_id: str,
    *,
    scope: Scope,
    title: str | None = None,
    metadata: dict[str, Any] | None = None,
    replace: bool = False,
    revision: int | None = None,
    found: Found = (),
) -> None:
    """Change title and metadata of a conversation.

    Args:
        conversation_id: Which one.
        scope: Whose conversations are there at all.
        title: The new title; ``None`` keeps it.
        metadata: Fields to set; ``None`` in one removes it.
        replace: Whether fields that are not given are removed.
        revision: Change it only if it was not changed after this revision of the archive.
        found: The secrets that were found in what is new.

    Raises:
        NotFound: There is none, or it is in the trash.
        PreconditionFailed: It was changed after that revision.
    """
    with writing():
        key = _lock(conversation_id, scope=scope, revision=revision)
        if title is not None:
            delete_findings_of(key, place="title")
            execute(
                "UPDATE conversations SET title = ?, cjk = ?, title_rank = ? WHERE key = ?",
                (title, spaced_title(title), USER_TITLE, key),
            )
        if metadata is not None or replace:
            kept = {} if replace else _metadata(key)
            merged = {**kept, **(metadata or {})}
            set_metadata(key, {name: value for name, value in merged.items() if value is not None})
            if replace:
                delete_findings_of(key, place="metadata")
        insert_found(found, conversation_key=key)
        refresh_conversations([key])


def set_tag(
    conversation_id: str,
    tag: str,
    *,
    scope: Scope,
    is_set: bool,
    revision: int | None = None,
    found: Found = (),
) -> list[str]:
    """File a conversation under a tag, or no longer; return its tags.

    Raises:
        NotFound: There is none, or it is in the trash.
        Conflict: It has as many tags as there may be.
        PreconditionFailed: It was changed after that revision.
    """
    with writing():
        key = _lock(conversation_id, scope=scope, revision=revision)
        metadata = _metadata(key)
        tags = [known for known in metadata.get("tags", []) if known != tag or is_set]
        if is_set and tag not in tags:
            if len(tags) >= MAX_TAGS:
                raise Conflict(f"It has {MAX_TAGS} tags, as many as there may be; remove one.")
            tags.append(tag)
        set_metadata(key, {**metadata, "tags": tags})
        insert_found(found if is_set else (), conversation_key=key)
        refresh_conversations([key])
    return tags


def trash_conversation(conversation_id: str, *, scope: Scope, revision: int | None = None) -> str:
    """Move a conversation and its subagents to the trash and return when.

    All of its subagents, also those that are not there for who does it.

    Raises:
        NotFound: There is none, or it is there already.
        PreconditionFailed: It was changed after that revision.
    """
    moment = now()
    with writing():
        key = _lock(conversation_id, scope=scope, revision=revision)
        keys = family(key)
        trashed = find_untrashed(keys)
        execute_many(
            "UPDATE conversations SET deleted_at = ? WHERE key = ?",
            [(moment, member) for member in trashed],
        )
        note_deletions(trashed, is_permanent=False)
        refresh_conversations(keys)
    return moment


def restore_conversation(conversation_id: str, *, scope: Scope) -> None:
    """Take a conversation, and the subagents that went with it, out of the trash.

    Raises:
        NotFound: It is not in the trash.
        Conflict: What started it is in the trash.
    """
    with writing():
        row = fetch_one(
            "SELECT c.key, c.deleted_at, p.id FROM conversations c LEFT JOIN conversations p"
            " ON p.key = c.parent_key AND p.deleted_at IS NOT NULL"
            f" WHERE c.id = ? AND {IN_TRASH}{scope.and_there('c')}",
            (conversation_id,),
        )
        if row is None:
            raise NotFound("conversation in the trash", conversation_id)
        key, deleted_at, parent_id = row
        if parent_id is not None:
            raise Conflict(f"It belongs to {parent_id}, which is in the trash; restore that one.")
        keys = family(key)
        # A subagent that was moved there by itself has another time, and stays.
        execute_many(
            "UPDATE conversations SET deleted_at = NULL WHERE key = ? AND deleted_at = ?",
            [(member, deleted_at) for member in keys],
        )
        note_restored(key)
        refresh_conversations(keys)


def lock_own_conversation(conversation_id: str, *, scope: Scope) -> tuple[int, str, int]:
    """Return key, beginning and last position of a conversation that takes messages.

    Raises:
        NotFound: There is none, or it is in the trash.
        Conflict: It is a transcript's.
    """
    row = fetch_one(
        "SELECT key, created_at, coalesce((SELECT max(position) FROM messages"
        " WHERE conversation_key = conversations.key), 0), source"
        " FROM conversations WHERE id = ? AND deleted_at IS NULL"
        + scope.and_there("conversations"),
        (conversation_id,),
    )
    if row is None:
        raise NotFound("conversation", conversation_id)
    key, created_at, position, source = row
    if source != "api":
        raise Conflict(
            "This conversation is read from a transcript; add messages to one that was made here."
        )
    return key, created_at, position


def _lock(conversation_id: str, *, scope: Scope, revision: int | None) -> int:
    row = fetch_one(
        "SELECT key, revision FROM conversations WHERE id = ? AND deleted_at IS NULL"
        + scope.and_there("conversations"),
        (conversation_id,),
    )
    if row is None:
        raise NotFound("conversation", conversation_id)
    if revision is not None and row[1] > revision:
        raise PreconditionFailed
    return int(row[0])


def _metadata(key: int) -> dict[str, Any]:
    row = fetch_one("SELECT metadata FROM conversations WHERE key = ?", (key,))
    assert row is not None
    metadata: dict[str, Any] = json.loads(row[0])
    return metadata


def set_metadata(key: int, metadata: dict[str, Any]) -> None:
    """Set what users say of a conversation, and its tags, which are part of that."""
    execute("UPDATE conversations SET metadata = ? WHERE key = ?", (encode_metadata(metadata), key))
    execute("DELETE FROM conversation_tags WHERE conversation_key = ?", (key,))
    insert_tags(key, metadata.get("tags") or ())


def encode_metadata(metadata: dict[str, Any]) -> str:
    """Return what users say of a conversation as it is kept."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def insert_tags(key: int, tags: Iterable[str]) -> None:
    """File a conversation under tags."""
    execute_many(
        "INSERT INTO conversation_tags (tag, conversation_key) VALUES (?, ?)"
        " ON CONFLICT DO NOTHING",
        [(tag, key) for tag in tags],
    )
