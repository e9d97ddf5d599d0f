"""The two forms of the one condition say the same, and the same as a walk over the rows."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.store.database import execute, fetch_all
from observatory.store.scopes import Scope

PROJECTS = (1, 2, 3)
keys = st.frozensets(st.sampled_from(PROJECTS))
scopes = st.builds(Scope, hidden=keys, only=st.none() | keys)
# Of each conversation: its project, whether one before it started it, and if it is in the trash.
rows = st.lists(
    st.tuples(st.none() | st.sampled_from(PROJECTS), st.none() | st.integers(1, 6), st.booleans()),
    max_size=8,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=rows, scope=scopes)
def test_a_conversation_is_there_with_its_project_and_all_above_it(db, rows, scope):
    execute("DELETE FROM conversations")
    execute("DELETE FROM projects")
    for key in PROJECTS:
        execute("INSERT INTO projects (key, path, name) VALUES (?, ?, '')", (key, f"/{key}"))
    parents: dict[int, int | None] = {}
    for key, (project, back, is_trashed) in enumerate(rows, start=1):
        parents[key] = key - back if back is not None and back < key else None
        execute(
            "INSERT INTO conversations (key, id, kind, parent_key, project_key, created_at,"
            " updated_at, deleted_at) VALUES (?, ?, 'session', ?, ?, '', '', ?)",
            (key, f"c{key}", parents[key], project, "x" if is_trashed else None),
        )

    def is_there(key: int) -> bool:
        parent = parents[key]
        return scope.allows(rows[key - 1][0]) and (parent is None or is_there(parent))

    expected = [key for key in parents if is_there(key)]
    for condition in (scope.and_there("c"), scope.and_among("c")):
        sql = f"SELECT c.key FROM conversations c WHERE true{condition} ORDER BY c.key"
        assert [key for (key,) in fetch_all(sql)] == expected
