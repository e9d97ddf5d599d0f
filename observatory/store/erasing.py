"""Leaving nothing of what was deleted in the file: in free space and in the search index."""

from __future__ import annotations

from observatory.store import search_parts
from observatory.store.database import database, writing

_MERGED_PAGES = 500


def overwrite_deleted(*, is_on: bool) -> None:
    """Have this connection overwrite what it takes out of the file, or no longer."""
    database.connection().execute(f"PRAGMA secure_delete = {int(is_on)}").fetchall()


def merge_index(*, is_first: bool) -> bool:
    """Drop more of what was taken out of the search index; return whether there is more to do.

    FTS5 only notes that something was taken out, until the segment that has it is merged. The
    first step says that all segments are.
    """
    pages = -_MERGED_PAGES if is_first else _MERGED_PAGES
    changed = False
    for table in (*(part.table for part in search_parts.list_parts()), "title_search"):
        with writing():
            changed |= search_parts.merge(table, pages)
    return changed
