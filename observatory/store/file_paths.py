"""Paths of the files that tools read and edited, each once."""

from __future__ import annotations

import json
from collections.abc import Iterable

from observatory.store.database import execute, execute_many, fetch_all, fetch_one


def ensure_paths(paths: Iterable[str]) -> dict[str, int]:
    """Return the keys of paths, which are inserted when they are new, inside a transaction."""
    wanted = set(paths)
    known = find_paths(wanted)
    new = sorted(wanted - known.keys())
    if new:
        execute_many("INSERT INTO file_paths (path) VALUES (?)", [(path,) for path in new])
        known |= find_paths(new)
    return known


def find_paths(paths: Iterable[str]) -> dict[str, int]:
    """Return the keys of those paths that are there."""
    rows = fetch_all(
        "SELECT p.path, p.key FROM json_each(?) w CROSS JOIN file_paths p ON p.path = w.value",
        (json.dumps(list(paths)),),
    )
    return dict(rows)


def find_path(path: str) -> int | None:
    """Return the key of a path, or ``None``."""
    row = fetch_one("SELECT key FROM file_paths WHERE path = ?", (path,))
    return row[0] if row else None


def name_paths(keys: Iterable[int]) -> dict[int, str]:
    """Return paths by their keys."""
    rows = fetch_all(
        "SELECT p.key, p.path FROM json_each(?) w CROSS JOIN file_paths p ON p.key = w.value",
        (json.dumps(list(keys)),),
    )
    return dict(rows)


def forget_paths(keys: Iterable[int]) -> None:
    """Delete those paths of which nothing is said any more, inside a transaction."""
    wanted = sorted(set(keys))
    if wanted:
        execute(
            "DELETE FROM file_paths WHERE key IN (SELECT value FROM json_each(?))"
            " AND NOT EXISTS"
            " (SELECT 1 FROM conversation_files WHERE path_key = file_paths.key)",
            (json.dumps(wanted),),
        )
