"""Projects: the working directories that conversations belong to."""

from __future__ import annotations

from observatory.store.database import fetch_one


def ensure_project(path: str, *, name: str) -> int:
    """Return the key of a project, which is inserted when it is new."""
    row = fetch_one("SELECT key FROM projects WHERE path = ?", (path,)) or fetch_one(
        "INSERT INTO projects (path, name) VALUES (?, ?) RETURNING key", (path, name)
    )
    assert row is not None
    return int(row[0])
