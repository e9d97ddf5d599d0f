"""Files: which were read and edited, how often again, and by which conversations."""

from __future__ import annotations

from typing import Any

from observatory.store.analytics.periods import as_text
from observatory.store.analytics.reading import Asked
from observatory.store.database import fetch_all

SORTS = ("edits", "reads", "reworks", "conversations")
_EDITING = "('Edit', 'MultiEdit', 'Write', 'NotebookEdit')"
# Told by the index alone. A tool that failed changed nothing.
_USES = f"""
    SELECT t.path, t.conversation_key, t.name = 'Read' AS is_read, t.name IN {_EDITING} AS is_edit,
        t.name = 'Write' AS is_write, t.started_at
    FROM tool_uses t INDEXED BY tool_uses_of_files{{joined}}
    WHERE t.path IS NOT NULL AND t.started_at >= :start AND t.started_at < :end
        AND t.status = 'success'{{more}}
"""
_FILES = f"""
    WITH one AS (
        SELECT path, conversation_key, sum(is_read) AS reads, sum(is_edit) AS edits,
            sum(is_write) AS writes, max(started_at) AS last_at
        FROM ({_USES}) GROUP BY path, conversation_key
    )
    SELECT path, sum(reads), sum(edits), sum(writes), sum(max(edits - 1, 0)), sum(edits > 0),
        count(*), max(last_at)
    FROM one GROUP BY path ORDER BY {{order}} DESC, path LIMIT :limit OFFSET :offset
"""
_ORDERS = {
    "edits": "sum(edits)",
    "reads": "sum(reads)",
    "reworks": "sum(max(edits - 1, 0))",
    "conversations": "count(*)",
}
_NAMES = (
    "path", "reads", "edits", "writes", "reworks", "editing_conversations", "conversations",
    "last_at",
)  # fmt: skip


def list_files(
    asked: Asked, *, path: str | None, sort_by: str, limit: int, offset: int
) -> list[dict[str, Any]]:
    """Return files with how often they were read and edited, the most first.

    ``edits`` are all changes, ``writes`` those of them that wrote the whole file, and ``reworks``
    those in a conversation that had edited the file before.
    """
    joined, more, parameters = _conditions(asked, path)
    sql = _FILES.format(joined=joined, more=more, order=_ORDERS[sort_by])
    rows = fetch_all(sql, {**parameters, "limit": limit, "offset": offset})
    return [dict(zip(_NAMES, row, strict=True)) for row in rows]


def list_conversations_of(asked: Asked, *, path: str, limit: int) -> list[dict[str, Any]]:
    """Return the conversations that read or edited a file, the latest first."""
    joined, more, parameters = _conditions(asked, path)
    rows = fetch_all(
        "SELECT c.id, c.title, p.path, sum(is_read), sum(is_edit), max(u.started_at)"
        f" FROM ({_USES.format(joined=joined, more=more)}) u"
        " JOIN conversations c ON c.key = u.conversation_key"
        " LEFT JOIN projects p ON p.key = c.project_key"
        " GROUP BY c.key ORDER BY max(u.started_at) DESC LIMIT :limit",
        {**parameters, "limit": limit},
    )
    names = ("conversation_id", "title", "project_path", "reads", "edits", "last_at")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _conditions(asked: Asked, path: str | None) -> tuple[str, str, dict[str, Any]]:
    parameters: dict[str, Any] = {
        "start": as_text(asked.period.start),
        "end": as_text(asked.period.end),
    }
    joined = (
        " JOIN conversations c ON c.key = t.conversation_key AND c.deleted_at IS NULL"
        + asked.scope.and_among("c")
    )
    more = ""
    if asked.project_key is not None:
        more += " AND c.project_key = :project"
        parameters["project"] = asked.project_key
    if path is not None:
        more += " AND t.path = :path"
        parameters["path"] = path
    return joined, more, parameters
