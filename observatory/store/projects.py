"""Projects: the working directories that conversations belong to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from observatory.errors import NotFound
from observatory.store.conversation_documents import cost
from observatory.store.database import fetch_all, fetch_one
from observatory.store.pages import Page
from observatory.store.scopes import Scope


def ensure_project(path: str, *, name: str) -> int:
    """Return the key of a project, which is inserted when it is new."""
    row = fetch_one("SELECT key FROM projects WHERE path = ?", (path,)) or fetch_one(
        "INSERT INTO projects (path, name) VALUES (?, ?) RETURNING key", (path, name)
    )
    assert row is not None
    return int(row[0])


def find_project_keys(paths: Iterable[str]) -> list[int]:
    """Return the keys of projects.

    Raises:
        NotFound: There is none with such a path.
    """
    keys = []
    for path in paths:
        row = fetch_one("SELECT key FROM projects WHERE path = ?", (path,))
        if row is None:
            raise NotFound("project", path)
        keys.append(int(row[0]))
    return keys


def find_scope(
    user_key: int | None, *, is_admin: bool, key_projects: Iterable[int] | None
) -> Scope:
    """Return which projects are there for somebody.

    Args:
        user_key: The account, or ``None`` for who runs the server.
        is_admin: Whether all projects are there.
        key_projects: The only ones that a key shows, or ``None``.
    """
    hidden: list[tuple[int]] = []
    if not is_admin:
        hidden = fetch_all(
            "SELECT key FROM projects WHERE visibility = 'listed' AND key NOT IN"
            " (SELECT project_key FROM project_users WHERE user_key IS ?)",
            (user_key,),
        )
    only = None if key_projects is None else frozenset(key_projects)
    return Scope(frozenset(key for (key,) in hidden), only)


_PROJECTS = """
    SELECT p.key, p.path, p.name, count(c.key), coalesce(sum(c.message_count), 0),
        coalesce(sum(c.tool_use_count), 0), coalesce(sum(c.error_count), 0),
        coalesce(sum(c.input_tokens), 0), coalesce(sum(c.output_tokens), 0),
        coalesce(sum(c.cache_creation_input_tokens), 0),
        coalesce(sum(c.cache_read_input_tokens), 0), coalesce(sum(c.total_tokens), 0),
        coalesce(sum(c.cost_nanodollars), 0), coalesce(sum(c.api_call_count), 0),
        coalesce(sum(c.unpriced_call_count), 0), min(c.created_at), max(c.updated_at),
        coalesce(sum(c.kind = 'session'), 0)
    FROM projects p
    LEFT JOIN conversations c ON c.project_key = p.key AND c.deleted_at IS NULL
"""


def list_projects(*, limit: int, offset: int) -> Page:
    """Return one page of projects, the most recently active first."""
    rows = fetch_all(
        _PROJECTS + " GROUP BY p.key ORDER BY max(c.updated_at) DESC, p.key LIMIT ? OFFSET ?",
        (limit + 1, offset),
    )
    counted = fetch_one("SELECT count(*) FROM projects")
    return Page(
        rows=[_project(row) for row in rows[:limit]],
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def get_project(key: int) -> dict[str, Any]:
    """Return one project with the sums over its conversations.

    Raises:
        NotFound: There is none.
    """
    row = fetch_one(_PROJECTS + " WHERE p.key = ? GROUP BY p.key", (key,))
    if row is None:
        raise NotFound("project", str(key))
    return _project(row)


def _project(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "path": row[1],
        "name": row[2],
        "conversation_count": row[3],
        "session_count": row[17],
        "message_count": row[4],
        "tool_use_count": row[5],
        "error_count": row[6],
        "total_tokens": row[11],
        "usage": {
            "input_tokens": row[7],
            "output_tokens": row[8],
            "cache_creation_input_tokens": row[9],
            "cache_read_input_tokens": row[10],
        },
        **cost(row[12], calls=row[13], unpriced=row[14]),
        "first_activity_at": row[15],
        "last_activity_at": row[16],
    }
