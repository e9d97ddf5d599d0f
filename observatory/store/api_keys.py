"""API keys as they are stored: everything but the key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from observatory.errors import InvalidParameter, NotFound
from observatory.store.database import execute, execute_many, fetch_all, fetch_one, writing
from observatory.store.pages import Page
from observatory.store.scopes import WHOLE, Scope
from observatory.store.users import COLUMNS, User, make_user
from observatory.timestamps import now


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key; its id in the API is its key here.

    Attributes:
        user: Whose it is; ``None`` when who runs the server made it.
        project_keys: The only projects it shows, or ``None`` for all that its user may see.
    """

    key: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    project_keys: tuple[int, ...] | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    user: User | None

    def document(self) -> dict[str, Any]:
        """Return the key as the API shows it."""
        return {
            "id": self.key,
            "name": self.name,
            "prefix": self.prefix,
            "scopes": list(self.scopes),
            "project_ids": None if self.project_keys is None else list(self.project_keys),
            "user_id": None if self.user is None else self.user.key,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "last_used_at": self.last_used_at,
        }


_KEY = f"""
    SELECT k.key, k.name, k.prefix, k.scopes, k.is_limited,
        (SELECT json_group_array(p.project_key) FROM api_key_projects p
         WHERE p.api_key_key = k.key),
        k.created_at, k.expires_at, k.last_used_at, k.user_key IS NULL, {COLUMNS}
    FROM api_keys k LEFT JOIN users u ON u.key = k.user_key WHERE k.revoked_at IS NULL
"""


def _make_key(row: tuple[Any, ...]) -> ApiKey:
    key, name, prefix, scopes, is_limited, projects = row[:6]
    created_at, expires_at, last_used_at, has_no_user = row[6:10]
    return ApiKey(
        key,
        name,
        prefix,
        tuple(orjson.loads(scopes)),
        tuple(sorted(orjson.loads(projects))) if is_limited else None,
        created_at,
        expires_at,
        last_used_at,
        None if has_no_user else make_user(row[10:]),
    )


def insert_key(
    *,
    name: str,
    key_hash: bytes,
    prefix: str,
    scopes: Sequence[str],
    project_keys: Iterable[int] | None,
    user_key: int | None,
    expires_at: str | None,
    scope: Scope = WHOLE,
) -> ApiKey:
    """Insert a key and return it.

    Raises:
        InvalidParameter: There is no such project, or not in the scope of who makes the key.
    """
    wanted = None if project_keys is None else sorted(set(project_keys))
    with writing(moves=None):
        row = fetch_one(
            "INSERT INTO api_keys (user_key, name, hash, prefix, scopes, is_limited, created_at,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING key",
            (
                user_key,
                name,
                key_hash,
                prefix,
                orjson.dumps(sorted(set(scopes))).decode(),
                wanted is not None,
                now(),
                expires_at,
            ),
        )
        assert row is not None
        known = fetch_all(
            "SELECT key FROM projects WHERE key IN (SELECT value FROM json_each(?))",
            (orjson.dumps(wanted or []).decode(),),
        )
        missing = set(wanted or ()) - {project for (project,) in known if scope.allows(project)}
        if missing:
            raise InvalidParameter("project_ids", f"There is no project {min(missing)}.")
        execute_many(
            "INSERT INTO api_key_projects (api_key_key, project_key) VALUES (?, ?)",
            [(row[0], project) for project in wanted or ()],
        )
        return get_key(row[0])


def get_key(key: int) -> ApiKey:
    """Return a key that was not revoked.

    Raises:
        NotFound: There is none.
    """
    row = fetch_one(_KEY + " AND k.key = ?", (key,))
    if row is None:
        raise NotFound("API key", str(key))
    return _make_key(row)


def find_key_by_hash(key_hash: bytes) -> ApiKey | None:
    """Return the key that a hash is of, unless it has ended, was revoked or its user disabled."""
    row = fetch_one(
        _KEY + " AND k.hash = ? AND (k.expires_at IS NULL OR k.expires_at > ?)"
        " AND (k.user_key IS NULL OR NOT u.is_disabled)",
        (key_hash, now()),
    )
    return _make_key(row) if row else None


def find_key(key: int) -> ApiKey | None:
    """Return a key, unless it has ended, was revoked or its user disabled."""
    row = fetch_one(
        _KEY + " AND k.key = ? AND (k.expires_at IS NULL OR k.expires_at > ?)"
        " AND (k.user_key IS NULL OR NOT u.is_disabled)",
        (key, now()),
    )
    return _make_key(row) if row else None


def list_keys(*, user_key: int | None = None, limit: int, offset: int) -> Page:
    """Return one page of the keys that were not revoked, in the order of their making.

    Args:
        user_key: Whose keys; ``None`` for everybody's.
        limit: Largest number of rows.
        offset: How many rows to pass over.
    """
    condition, parameters = "", []
    if user_key is not None:
        condition, parameters = " AND k.user_key = ?", [user_key]
    rows = fetch_all(
        f"{_KEY}{condition} ORDER BY k.key LIMIT ? OFFSET ?", (*parameters, limit + 1, offset)
    )
    counted = fetch_one(
        f"SELECT count(*) FROM api_keys k WHERE k.revoked_at IS NULL{condition}", parameters
    )
    return Page(
        rows=[_make_key(row).document() for row in rows[:limit]],
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def revoke_key(key: int) -> ApiKey:
    """End a key for good and return what it was.

    Raises:
        NotFound: There is none, or it was revoked before.
    """
    with writing(moves="auth_revision"):
        found = get_key(key)
        execute("UPDATE api_keys SET revoked_at = ? WHERE key = ?", (now(), key))
    return found


def note_use(key: int) -> None:
    """Note that a key is used now."""
    with writing(moves=None):
        execute("UPDATE api_keys SET last_used_at = ? WHERE key = ?", (now(), key))
