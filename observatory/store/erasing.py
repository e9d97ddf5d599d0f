"""Leaving nothing of what was deleted in the file: in free space and in the search index."""

from __future__ import annotations

from observatory.store.database import count_changes, database, execute, writing

_MERGED_PAGES = 500


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
            before = count_changes()
            execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (pages,))
            # One row is the command's own.
            changed |= count_changes() - before > 1
    return changed
