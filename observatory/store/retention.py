"""For how long conversations are kept: rules of projects, and which conversations are due.

A session counts with all that it started, by what was said in any of it last. Somebody who takes
it out of the trash counts as having said something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from observatory.store.conversations import family
from observatory.store.database import execute, fetch_all, fetch_one, writing
from observatory.store.projects import delete_empty_project, get_project
from observatory.store.scopes import Scope
from observatory.timestamps import format_timestamp, now

TRASH = "trash"
REMOVE = "remove"
ACTIONS = (TRASH, REMOVE)
MAX_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule: after so many ``days`` without activity comes the action; ``None`` is never."""

    days: int | None
    action: str = TRASH
    updated_at: str | None = None


FOR_EVER = Policy(None)


def get_policy(project_key: int, *, scope: Scope) -> Policy | None:
    """Return the rule of a project, or ``None`` when it has none of its own.

    Raises:
        NotFound: There is no such project.
    """
    get_project(project_key, scope=scope)
    return _find_policy(project_key)


def _find_policy(project_key: int) -> Policy | None:
    row = fetch_one(
        "SELECT days, action, updated_at FROM project_retention WHERE project_key = ?",
        (project_key,),
    )
    return Policy(*row) if row else None


def set_policy(project_key: int, *, days: int | None, action: str, scope: Scope) -> Policy:
    """Give a project a rule of its own, and return it.

    Raises:
        NotFound: There is no such project.
    """
    with writing():
        get_project(project_key, scope=scope)
        policy = Policy(days, action, now())
        _write_policy(project_key, policy)
    return policy


def _write_policy(project_key: int, policy: Policy) -> None:
    execute(
        "INSERT INTO project_retention (project_key, days, action, updated_at)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (project_key) DO UPDATE SET days = excluded.days,"
        " action = excluded.action, updated_at = excluded.updated_at",
        (project_key, policy.days, policy.action, policy.updated_at),
    )


def delete_policy(project_key: int, *, scope: Scope) -> None:
    """Have a project follow the server's rule again.

    Raises:
        NotFound: There is no such project.
    """
    with writing():
        get_project(project_key, scope=scope)
        execute("DELETE FROM project_retention WHERE project_key = ?", (project_key,))
        # It may have been kept for its rule alone.
        delete_empty_project(project_key)


def merge_policies(key: int, *, into: int) -> None:
    """Give a project that takes over another one's conversations the rule that keeps more.

    A rule that only one of them has, and that lets go of something, holds no more: the other one's
    conversations were not meant by it. Inside a transaction.
    """
    rules = [_find_policy(key), _find_policy(into)]
    given = [rule for rule in rules if rule is not None]
    if not given:
        return
    milder = min(given, key=_strictness)
    if len(given) == 2 or milder.days is None:
        _write_policy(into, milder)
    else:
        execute("DELETE FROM project_retention WHERE project_key = ?", (into,))


def _strictness(policy: Policy) -> tuple[bool, bool, int]:
    return policy.days is not None, policy.action == REMOVE, -(policy.days or 0)


def note_restored(key: int) -> None:
    """Note that a conversation was taken out of the trash, inside a transaction."""
    execute(
        "INSERT INTO restored_conversations (conversation_key, restored_at) VALUES (?, ?)"
        " ON CONFLICT (conversation_key) DO UPDATE SET restored_at = excluded.restored_at",
        (key, now()),
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conversation that may be due: nothing was said in it itself since ``before``."""

    key: int
    id: str
    action: str
    before: str


def has_policies() -> bool:
    """Tell whether any project's rule lets go of something."""
    return fetch_one("SELECT 1 FROM project_retention WHERE days IS NOT NULL") is not None


# Keys beyond the largest are of no conversation.
_IDLE = """
    SELECT c.key, c.id, coalesce(p.action, :action), CASE WHEN p.project_key IS NULL THEN :days
        ELSE p.days END AS kept, c.updated_at
    FROM conversations c LEFT JOIN project_retention p ON p.project_key = c.project_key
    WHERE c.parent_key IS NULL AND c.key > :after AND kept IS NOT NULL
        AND c.updated_at < strftime('%Y-%m-%dT%H:%M:%fZ', :moment, '-' || kept || ' days')
        AND (c.deleted_at IS NULL OR coalesce(p.action, :action) = 'remove')
        AND NOT EXISTS
            (SELECT 1 FROM deleted_conversations d WHERE d.id = c.id AND d.kind = c.kind)
    ORDER BY c.key LIMIT :limit
"""


def list_idle(default: Policy, *, moment: datetime, after: int, limit: int) -> list[Candidate]:
    """Return sessions that may be due by the rules, in the order of their keys.

    Args:
        default: The rule of projects without one of their own.
        moment: The present.
        after: The key behind which to begin.
        limit: How many at most.
    """
    rows = fetch_all(
        _IDLE,
        {
            "days": default.days,
            "action": default.action,
            "moment": format_timestamp(moment),
            "after": after,
            "limit": limit,
        },
    )
    return [
        Candidate(key, identifier, action, _before(moment, kept))
        for key, identifier, action, kept, _ in rows
    ]


def list_trashed(*, days: int, moment: datetime, after: int, limit: int) -> list[Candidate]:
    """Return what has been in the trash for longer than some days, in the order of their keys."""
    before = _before(moment, days)
    rows = fetch_all(
        "SELECT c.key, c.id FROM conversations c WHERE c.deleted_at IS NOT NULL"
        " AND c.deleted_at < ? AND c.key > ? AND NOT EXISTS (SELECT 1 FROM deleted_conversations d"
        " WHERE d.id = c.id AND d.kind = c.kind) ORDER BY c.key LIMIT ?",
        (before, after, limit),
    )
    return [Candidate(key, identifier, REMOVE, before) for key, identifier in rows]


def _before(moment: datetime, days: int) -> str:
    return format_timestamp(moment - timedelta(days=days))


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that a conversation was read from, as it was then."""

    path: str
    size: int
    modified_ns: int
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class FamilyState:
    """A conversation with all that it started.

    Attributes:
        active_at: When something was said in any of it last, or it was taken out of the trash.
        is_live: Whether something was said a short while ago.
        files: What it was read from.
    """

    active_at: str
    is_live: bool
    files: Sequence[KnownFile]


def read_family(key: int) -> FamilyState | None:
    """Return when a conversation and what it started were active; ``None`` when it is gone."""
    keys = family(key)
    listed = ", ".join(str(int(member)) for member in keys)
    row = fetch_one(
        "SELECT max(max(c.updated_at, coalesce(r.restored_at, ''))),"
        " max(l.conversation_key IS NOT NULL) FROM conversations c"
        " LEFT JOIN restored_conversations r ON r.conversation_key = c.key"
        f" LEFT JOIN live_conversations l ON l.conversation_key = c.key WHERE c.key IN ({listed})"
    )
    if row is None or row[0] is None:
        return None
    files: list[tuple[Any, ...]] = fetch_all(
        "SELECT path, size, modified_ns, status IN ('pending', 'processing') OR is_reread"
        f" FROM transcript_files WHERE conversation_key IN ({listed})"
    )
    return FamilyState(
        row[0],
        bool(row[1]),
        [KnownFile(path, size, modified, bool(waits)) for path, size, modified, waits in files],
    )
