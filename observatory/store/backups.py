"""Copies of the database: what one has to be, and what becomes of one that is to be the database.

A restored archive goes on with revisions and ids of events that no client can have seen: from the
number of microseconds since 1970. They count changes and events, of which there are fewer.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from observatory.errors import BackupError
from observatory.store import schema
from observatory.store.database import (
    DatabaseError,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
    writing,
)
from observatory.store.verifying import check_integrity

# What lies beside a database by its name, such as its log and locks: see docs/operations.md.
_BESIDE = re.compile(r"-(?:wal|shm|journal)|\.\w+\.lock|\.watch\.json")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database has: its newest migration, revision, and how much there is of what."""

    migration: str
    revision: int
    conversations: int
    messages: int
    updated_at: str | None


@dataclass(slots=True)
class Remembered:
    """What a restored archive must not fall behind, of the database that it takes the place of.

    ``revoked`` are the hashes of keys with the time when they were revoked, ``disabled`` the
    addresses of accounts.
    """

    revision: int = 0
    auth_revision: int = 0
    event_id: int = 0
    file_key: int = 0
    revoked: list[tuple[bytes, str]] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)


def read_contents() -> Contents:
    """Return what the connected database has."""
    applied = schema.read_status().applied
    row = fetch_one(
        "SELECT (SELECT value FROM totals WHERE name = 'revision'),"
        " (SELECT count(*) FROM conversations), (SELECT count(*) FROM messages),"
        " (SELECT max(updated_at) FROM conversations)"
    )
    assert row is not None
    return Contents(applied[-1] if applied else "", *row)


def check_copy(name: Path) -> None:
    """Return quietly when the connected database is a sound archive that this code can use.

    Args:
        name: How it is called in messages.

    Raises:
        BackupError: It is damaged, of a newer version, or none of ours.
    """
    try:
        status = schema.read_status()
        if not status.applied:
            raise BackupError(f"{name} is no database of the Observatory.")
        if status.unknown:
            raise BackupError(
                f"{name} was written by a newer version of the Observatory"
                f" ({', '.join(status.unknown)}). Install that version first."
            )
        found = check_integrity(limit=3)
        if not found and fetch_one("SELECT * FROM pragma_foreign_key_check LIMIT 1"):
            found = ["rows point at others that are not there"]
    except DatabaseError as error:
        found = [str(error)]
    if found:
        raise BackupError(f"{name} is damaged: {'; '.join(found)}. Use another backup.")


def remember() -> Remembered:
    """Return what the connected database knows that an older one does not.

    Raises:
        DatabaseError: It is damaged, or of a version that did not have all of that.
    """
    totals = dict(fetch_all("SELECT name, value FROM totals"))
    return Remembered(
        revision=totals["revision"],
        auth_revision=totals.get("auth_revision", 0),
        event_id=_last_event(),
        file_key=max(
            totals.get("last_file_key", 0),
            *fetch_all("SELECT coalesce(max(key), 0) FROM transcript_files")[0],
        ),
        revoked=[
            (row[0], row[1])
            for row in fetch_all(
                "SELECT hash, revoked_at FROM api_keys WHERE revoked_at IS NOT NULL"
            )
        ],
        disabled=[row[0] for row in fetch_all("SELECT email FROM users WHERE is_disabled")],
    )


def go_on_from(known: Remembered) -> None:
    """Let the connected copy, whose schema is current, be the archive from now on.

    Nobody takes what it says for what another archive said: its revisions and ids of events are
    beyond all that were given, and events of before are gone. All sign-ins end, and what was
    revoked or disabled since stays so.

    Args:
        known: What the database knew that it takes the place of.
    """
    beyond = time.time_ns() // 1000
    with writing(moves=None):
        for name, before in (
            ("revision", known.revision),
            ("auth_revision", known.auth_revision),
        ):
            execute(
                "UPDATE totals SET value = max(value + 1, ?, ?) WHERE name = ?",
                (beyond, before + 1, name),
            )
        execute(
            "UPDATE totals SET value = max(value, ?) WHERE name = 'last_file_key'",
            (known.file_key,),
        )
        _move_events(max(beyond, known.event_id + 1, _last_event() + 1))
        for table in ("stream_tickets", "sessions", "one_time_tokens"):
            execute(f"DELETE FROM {table}")
        execute_many(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE hash = ?1",
            known.revoked,
        )
        execute_many(
            "UPDATE users SET is_disabled = 1 WHERE email = ?",
            [(email,) for email in known.disabled],
        )


def _last_event() -> int:
    row = fetch_one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")
    return int(row[0]) if row else 0


def _move_events(event_id: int) -> None:
    """Let the next event have an id beyond one; who asks for earlier ones is told of a gap."""
    last = _last_event()
    execute("DELETE FROM events")
    execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (event_id,))
    # One that was told of everything misses nothing; the others are told that they do.
    execute("UPDATE webhooks SET position = ? WHERE position >= ?", (event_id, last))


def check_target(target: Path, database: Path, *, keys: Iterable[Path] = ()) -> None:
    """Return quietly when a new file by a name takes the place of nothing that a database needs.

    Raises:
        BackupError: It is the database, its log, one of its locks or keys.
    """
    real, own = (Path(os.path.realpath(path)) for path in (target, database))
    if real == own or _is_same(target, own):
        raise BackupError(f"{target} is the database itself; name another file.")
    rest = real.name.removeprefix(own.name)
    is_beside = real.parent == own.parent and real.name.startswith(own.name)
    if (is_beside and _BESIDE.fullmatch(rest)) or any(
        str(real) == os.path.realpath(key) for key in keys
    ):
        raise BackupError(f"{target} belongs to the database itself; name another file.")


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
