"""Projects: the working directories that conversations belong to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from observatory.errors import InvalidParameter, NotFound
from observatory.store.conversation_documents import cost
from observatory.store.database import execute, execute_many, fetch_all, fetch_one, writing
from observatory.store.event_notes import forget_project, note_project
from observatory.store.pages import Page
from observatory.store.places import forget_project as forget_places
from observatory.store.scopes import Scope


def ensure_project(path: str, *, name: str) -> int:
    """Return the key of a project, which is inserted when it is new."""
    known = find_project(path)
    if known is not None:
        return known
    row = fetch_one("INSERT INTO projects (path, name) VALUES (?, ?) RETURNING key", (path, name))
    assert row is not None
    note_project(row[0])
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


def find_project(path: str) -> int | None:
    """Return the key of a project, or ``None`` when there is none with this path."""
    row = fetch_one("SELECT key FROM projects WHERE path = ?", (path,))
    return row[0] if row else None


def delete_empty_project(key: int | None) -> None:
    """Delete a project without conversations, inside a transaction.

    One that is not for everyone is kept: it would come back for everyone. So is one with a rule of
    its own for how long it is kept, which later conversations fall under.
    """
    deleted = execute(
        "DELETE FROM projects WHERE key = ?1 AND visibility = 'everyone'"
        " AND NOT EXISTS (SELECT 1 FROM project_retention WHERE project_key = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM conversations WHERE project_key = ?1)",
        (key,),
    )
    if deleted:
        assert key is not None
        forget_project(key)
        forget_places(key)
        # Its key may be another project's next.
        _note_change()


def find_scope(
    user_key: int | None, *, is_admin: bool, key_projects: Iterable[int] | None
) -> Scope:
    """Return which projects are there for somebody.

    Args:
        user_key: The user; ``None`` is nobody whom a project could list.
        is_admin: Whether nothing is hidden from them.
        key_projects: The projects that their API key is limited to, or ``None``.
    """
    hidden: Iterable[int] = ()
    if not is_admin:
        rows = fetch_all(
            "SELECT key FROM projects p WHERE visibility = 'listed' AND NOT EXISTS"
            " (SELECT 1 FROM project_users u WHERE u.project_key = p.key AND u.user_key = ?)",
            (user_key,),
        )
        hidden = (row[0] for row in rows)
    only = None if key_projects is None else frozenset(key_projects)
    return Scope(hidden=frozenset(hidden), only=only)


def change_project(
    key: int, *, scope: Scope, visibility: str | None = None, user_ids: list[int] | None = None
) -> dict[str, Any]:
    """Change for whom a project is there, and return it with its ``user_ids``.

    Args:
        key: Which one.
        scope: Which projects are there at all.
        visibility: ``everyone``, or ``listed`` for administrators and its users alone; ``None``
            keeps it.
        user_ids: Its users from now on; ``None`` keeps them.

    Raises:
        NotFound: There is none.
        InvalidParameter: There are no such users.
    """
    with writing():
        get_project(key, scope=scope)
        if visibility is not None:
            execute("UPDATE projects SET visibility = ? WHERE key = ?", (visibility, key))
        if user_ids is not None:
            _check_users(user_ids)
            execute("DELETE FROM project_users WHERE project_key = ?", (key,))
            execute_many(
                "INSERT INTO project_users (project_key, user_key) VALUES (?, ?)",
                [(key, user) for user in sorted(set(user_ids))],
            )
        _note_change()
        return {**get_project(key, scope=scope), "user_ids": list_user_ids(key)}


def merge_visibility(key: int, *, into: int) -> None:
    """Let a project that takes over another one's conversations be for nobody new.

    When both list users, those stay that both list. Inside a transaction.
    """
    known = dict(fetch_all("SELECT key, visibility FROM projects WHERE key IN (?, ?)", (key, into)))
    if known[key] == "listed" and known[into] == "listed":
        execute(
            "DELETE FROM project_users WHERE project_key = ? AND user_key NOT IN"
            " (SELECT user_key FROM project_users WHERE project_key = ?)",
            (into, key),
        )
    elif known[key] == "listed":
        execute("UPDATE projects SET visibility = 'listed' WHERE key = ?", (into,))
        execute("DELETE FROM project_users WHERE project_key = ?", (into,))
        execute("UPDATE project_users SET project_key = ? WHERE project_key = ?", (into, key))
    _note_change()


def _check_users(user_ids: list[int]) -> None:
    unknown = fetch_all(
        "SELECT DISTINCT value FROM json_each(?) WHERE value NOT IN (SELECT key FROM users)"
        " ORDER BY value",
        (json.dumps(user_ids),),
    )
    if unknown:
        listed = ", ".join(str(user) for (user,) in unknown)
        raise InvalidParameter("user_ids", f"There are no users with these ids: {listed}.")


def _note_change() -> None:
    """Let who signed in be looked up anew: what is there for them may be other than before."""
    execute("UPDATE totals SET value = value + 1 WHERE name = 'auth_revision'")


def list_user_ids(key: int) -> list[int]:
    """Return the users that a project lists."""
    rows = fetch_all(
        "SELECT user_key FROM project_users WHERE project_key = ? ORDER BY user_key", (key,)
    )
    return [row[0] for row in rows]


# Sums that a project keeps of its conversations, whoever may see them.
_KEPT_SUMS = (
    "conversation_count", "message_count", "tool_use_count", "error_count", "input_tokens",
    "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "total_tokens",
    "cost_nanodollars", "api_call_count", "unpriced_call_count",
)  # fmt: skip
_AN_ACTIVITY = (
    "(SELECT {moment} FROM conversations c WHERE c.project_key = p.key AND c.deleted_at IS NULL"
    " ORDER BY {moment} {direction} LIMIT 1)"
)
_FIRST = _AN_ACTIVITY.format(moment="c.created_at", direction="")
_LAST = _AN_ACTIVITY.format(moment="c.updated_at", direction="DESC")
_PROJECTS = (
    f"SELECT p.key, p.path, p.name, {', '.join(f'p.{name}' for name in _KEPT_SUMS)}, {_FIRST},"
    f" {_LAST} AS last_activity_at, p.session_count, p.visibility FROM projects p"
)
# The same of a part of the archive, where a conversation may be hidden for what is above it.
_PROJECTS_IN_PART = """
    SELECT p.key, p.path, p.name, count(c.key), coalesce(sum(c.message_count), 0),
        coalesce(sum(c.tool_use_count), 0), coalesce(sum(c.error_count), 0),
        coalesce(sum(c.input_tokens), 0), coalesce(sum(c.output_tokens), 0),
        coalesce(sum(c.cache_creation_input_tokens), 0),
        coalesce(sum(c.cache_read_input_tokens), 0), coalesce(sum(c.total_tokens), 0),
        coalesce(sum(c.cost_nanodollars), 0), coalesce(sum(c.api_call_count), 0),
        coalesce(sum(c.unpriced_call_count), 0), min(c.created_at),
        max(c.updated_at) AS last_activity_at, coalesce(sum(c.kind = 'session'), 0), p.visibility
    FROM projects p
    LEFT JOIN conversations c ON c.project_key = p.key AND c.deleted_at IS NULL{there}
    WHERE {wanted} GROUP BY p.key
"""


def find_missummed() -> list[str]:
    """Return the paths of projects whose sums differ from those over their conversations."""
    kept = ", ".join(f"p.{name}" for name in (*_KEPT_SUMS, "session_count"))
    counted = "count(c.key), " + ", ".join(
        f"coalesce(sum({value}), 0)"
        for value in (*(f"c.{name}" for name in _KEPT_SUMS[1:]), "c.kind = 'session'")
    )
    rows = fetch_all(
        "SELECT p.path FROM projects p LEFT JOIN conversations c"
        " ON c.project_key = p.key AND c.deleted_at IS NULL"
        f" GROUP BY p.key HAVING ({kept}) IS NOT ({counted}) ORDER BY p.key"
    )
    return [path for (path,) in rows]


def _select_projects(scope: Scope, wanted: str) -> str:
    """Return the statement that reads the projects for which a condition holds."""
    if scope.is_whole:
        return f"{_PROJECTS} WHERE {wanted}"
    return _PROJECTS_IN_PART.format(there=scope.and_there("c"), wanted=wanted)


def list_projects(*, scope: Scope, limit: int, offset: int) -> Page:
    """Return one page of projects, the most recently active first."""
    wanted = scope.condition("p.key")
    rows = fetch_all(
        f"{_select_projects(scope, wanted)}"
        " ORDER BY last_activity_at DESC, p.key LIMIT +? OFFSET ?",
        (limit + 1, offset),
    )
    counted = fetch_one(f"SELECT count(*) FROM projects p WHERE {wanted}")
    return Page(
        rows=[_project(row) for row in rows[:limit]],
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def get_project(key: int, *, scope: Scope) -> dict[str, Any]:
    """Return one project with the sums over its conversations.

    Raises:
        NotFound: There is none.
    """
    sql = _select_projects(scope, "p.key = ?")
    row = fetch_one(sql, (key,)) if scope.allows(key) else None
    if row is None:
        raise NotFound("project", str(key))
    return _project(row)


def _project(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "path": row[1],
        "name": row[2],
        "visibility": row[18],
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
