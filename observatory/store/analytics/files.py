"""Files: which were read and edited, how often again, and by which conversations."""

from __future__ import annotations

from functools import partial
from typing import Any

from observatory.store.analytics.periods import as_text, split_nearby
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
    if path is None:
        rows = _list_first(asked, sort_by=sort_by, limit=limit, offset=offset)
    else:
        key = find_path(path)
        only = {} if key is None else {"path_key": key}
        rows = read_sums(FILES, asked, by=("path_key",), only=only) if only and not offset else []
    paths = name_paths(row[0] for row in rows)
    return [
        {
            "path": paths[key],
            **dict(zip(FILES.measures, numbers, strict=True)),
            "last_at": as_text(numbers[-1]),
        }
        for key, *numbers in rows
    ]


def _list_first(asked: Asked, *, sort_by: str, limit: int, offset: int) -> list[tuple[int, ...]]:
    """Return the sums of the paths of which a measure is the largest, in order.

    Of everything together all files are put in order by this measure alone, and only then all is
    read of the first: to put them in order with all their measures took twice as long. Of places by
    themselves to read them twice is what takes long.
    """
    read = partial(read_sums, FILES, asked, by=("path_key",))
    put_in_order = partial(read, order_by=sort_by, limit=limit, offset=offset)
    if asked.is_together:
        segments = split_nearby(asked.period.start, asked.period.end)
        ranked = put_in_order(measures=(sort_by,), segments=segments, is_zero_left_out=True)
        # Behind those with anything come all others, which are not among these.
        if len(ranked) == limit and ranked[-1][1]:
            keys = [key for key, _ in ranked]
            found = {row[0]: row for row in read(among={"path_key": keys})}
            return [found[key] for key in keys]
    return put_in_order()


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
