"""Places: where conversations stand for who may see them.

A conversation is there for somebody when its project is, and so are those of all that is above it
(docs/decisions/0008-visibility.md). What those projects are is its place. There are about as many
places as projects, so sums by place answer at once whatever somebody may see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache

from observatory.store.database import execute, execute_many, fetch_all, fetch_one
from observatory.store.rollup_tables import EVERYWHERE
from observatory.store.scopes import Scope

# Stands for no project: no project has this key.
NO_PROJECT = 0

_ABOVE = """
    WITH RECURSIVE above (key, place_key, own, at, project) AS (
        SELECT c.key, c.place_key, c.project_key, c.parent_key, c.project_key
        FROM json_each(?) w CROSS JOIN conversations c ON c.key = w.value
        UNION
        SELECT above.key, above.place_key, above.own, p.parent_key, p.project_key
        FROM above CROSS JOIN conversations p ON p.key = above.at
    )
    SELECT key, place_key, coalesce(own, 0), json_group_array(DISTINCT coalesce(project, 0))
    FROM above GROUP BY key
"""


def settle_places(keys: Iterable[int]) -> tuple[dict[int, int], bool]:
    """Give conversations the places where they stand, and those below them, inside a transaction.

    Returns:
        The place of each of them, and of those below that have another one now; and whether any
        that was somewhere before stands elsewhere.
    """
    places: dict[int, int] = {}
    ensure = cache(_ensure_place)
    have_moved = False
    waiting = list(keys)
    while waiting:
        moved: list[tuple[int, int]] = []
        for key, known, own, projects in fetch_all(_ABOVE, (json.dumps(waiting),)):
            place = ensure(own, projects)
            places[key] = place
            if place != known:
                moved.append((place, key))
                have_moved |= known is not None
        execute_many("UPDATE conversations SET place_key = ? WHERE key = ?", moved)
        below = fetch_all(
            "SELECT c.key FROM json_each(?) w CROSS JOIN conversations c ON c.parent_key = w.value",
            (json.dumps([key for _, key in moved]),),
        )
        waiting = [key for (key,) in below if key not in places]
    return places, have_moved


def count_misplaced(keys: Iterable[int]) -> int:
    """Return how many conversations have another place than the one where they stand."""
    places = {
        place: (project, json.loads(above))
        for place, project, above in fetch_all("SELECT key, project_key, above FROM places")
    }
    return sum(
        places.get(known) != (own, sorted(json.loads(projects)))
        for _, known, own, projects in fetch_all(_ABOVE, (json.dumps(list(keys)),))
    )


def ensure_place(project_key: int | None) -> int:
    """Return where a conversation of a project stands that nothing is above."""
    own = project_key or NO_PROJECT
    return _ensure_place(own, f"[{own}]")


def _ensure_place(project_key: int, projects: str) -> int:
    above = json.dumps(sorted(json.loads(projects)))
    row = fetch_one(
        "SELECT key FROM places WHERE project_key = ? AND above = ?", (project_key, above)
    )
    row = row or fetch_one(
        "INSERT INTO places (project_key, above) VALUES (?, ?) RETURNING key", (project_key, above)
    )
    assert row is not None
    return int(row[0])


def forget_project(key: int) -> None:
    """Take the places of a project away, inside a transaction: its key may be another's next."""
    execute(
        "DELETE FROM places WHERE project_key = ?1"
        " OR EXISTS (SELECT 1 FROM json_each(above) WHERE value = ?1)",
        (key,),
    )


def find_places(scope: Scope, *, project_key: int | None = None) -> list[int]:
    """Return the places that are there for somebody.

    Args:
        scope: What they may see.
        project_key: Only those of this project.

    Returns:
        Their keys; that of all together when all are wanted and may be seen.
    """
    if scope.is_whole and project_key is None:
        return [EVERYWHERE]
    return [place for place, _ in list_places(scope, project_key=project_key)]


def list_places(scope: Scope, *, project_key: int | None = None) -> list[tuple[int, int]]:
    """Return key and project of each place that is there for somebody; 0 is no project."""
    wanted = "" if project_key is None else " WHERE project_key = ?"
    rows = fetch_all(
        f"SELECT key, project_key, above FROM places{wanted} ORDER BY key",
        () if project_key is None else (project_key,),
    )
    return [
        (key, project)
        for key, project, above in rows
        if scope.is_whole or all(scope.allows(each or None) for each in json.loads(above))
    ]
