"""Leaving nothing of what was deleted in the file: in free space, the search index and the log."""

from __future__ import annotations

from typing import Any

from observatory.store.database import database, execute, fetch_one, writing

_MERGED_PAGES = 500
_CHECKPOINT_WAIT_MS = 1000


def overwrite_deleted(*, is_on: bool) -> None:
    """Have this connection overwrite what it takes out of the file, or no longer."""
    database.connection().execute(f"PRAGMA secure_delete = {int(is_on)}").fetchall()


def merge_index(*, is_first: bool) -> bool:
    """Drop more of what was taken out of the search index; return whether there is more to do.

    FTS5 only notes that something was taken out, until the segment that has it is merged. The
    first step says that all segments are.
    """
    changed = False
    pages = -_MERGED_PAGES if is_first else _MERGED_PAGES
    for table in ("message_search", "title_search"):
        with writing():
            before = _count_changes()
            execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (pages,))
            # One row is the command's own.
            changed |= _count_changes() - before > 1
    return changed


def _count_changes() -> int:
    row = fetch_one("SELECT total_changes()")
    assert row is not None
    return int(row[0])


def empty_log() -> bool:
    """Take what is in the write-ahead log into the file; tell whether that could be done.

    A reader that needs it is waited for a second.
    """
    connection: Any = database.connection()
    [before] = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAIT_MS}").fetchall()
    try:
        [(is_busy, _, _)] = connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {before}").fetchall()
    return not is_busy
