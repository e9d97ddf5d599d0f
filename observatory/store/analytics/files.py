"""Files: which were read and edited, how often again, and by which conversations."""

from __future__ import annotations

from typing import Any

from observatory.store.analytics.periods import as_text
from observatory.store.analytics.reading import Asked, read_sums
from observatory.store.database import fetch_all
from observatory.store.file_paths import find_path, name_paths
from observatory.store.rollup_tables import FILES

SORTS = ("edits", "reads", "reworks", "conversations")


def list_files(
    asked: Asked, *, path: str | None, sort_by: str, limit: int, offset: int
) -> list[dict[str, Any]]:
    """Return files with how often they were read and edited, the most first.

    ``edits`` are all changes, ``writes`` those of them that wrote the whole file, and ``reworks``
    those by a conversation that had edited the file before. ``conversations`` are those that used
    it first in the period, ``editing_conversations`` those that edited it first then.
    """
    only = {}
    if path is not None:
        key = find_path(path)
        if key is None:
            return []
        only = {"path_key": key}
    rows = read_sums(
        FILES, asked, by=("path_key",), only=only, order_by=sort_by, limit=limit, offset=offset
    )
    paths = name_paths(row[0] for row in rows)
    return [
        {
            "path": paths[key],
            **dict(zip(FILES.measures, numbers, strict=True)),
            "last_at": as_text(numbers[-1]),
        }
        for key, *numbers in rows
    ]


_USING = """
    SELECT c.id, c.title, p.path, sum(f.reads), sum(f.edits), max(f.last_at)
    FROM conversation_files f INDEXED BY conversation_files_by_path
    JOIN conversations c ON c.key = f.conversation_key
    LEFT JOIN projects p ON p.key = c.project_key
    WHERE f.path_key = (SELECT key FROM file_paths WHERE path = :path)
        AND f.start >= :start AND f.start < :end{more}
    GROUP BY c.key ORDER BY max(f.last_at) DESC, c.key DESC LIMIT :limit
"""


def list_conversations_of(asked: Asked, *, path: str, limit: int) -> list[dict[str, Any]]:
    """Return the conversations that read or edited a file, the latest first."""
    more = asked.and_there("c")
    span = {"start": asked.period.start, "end": asked.period.end}
    rows = fetch_all(_USING.format(more=more), {**span, "path": path, "limit": limit})
    names = ("conversation_id", "title", "project_path", "reads", "edits", "last_at")
    return [{**dict(zip(names, row, strict=True)), "last_at": as_text(row[5])} for row in rows]
