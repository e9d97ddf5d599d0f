"""For whom projects are there."""

from __future__ import annotations

import pytest

from observatory.store.conversation_changes import restore_conversation, trash_conversation
from observatory.store.conversation_removal import delete_conversation
from observatory.store.database import execute, fetch_all, writing
from observatory.store.projects import (
    ensure_project,
    find_missummed,
    find_scope,
    list_user_ids,
)
from observatory.store.scopes import WHOLE, Scope
from observatory.store.secret_rows import update_project
from observatory.store.totals import read_totals
from tests.store.new_conversations import make_conversation


def make(path: str, *users: int, visibility: str = "listed") -> int:
    key = ensure_project(path, name=path)
    execute("UPDATE projects SET visibility = ? WHERE key = ?", (visibility, key))
    for user in users:
        execute("INSERT INTO project_users (project_key, user_key) VALUES (?, ?)", (key, user))
    return key


@pytest.fixture(autouse=True)
def users(db) -> None:
    for name in ("ada", "eve", "bob"):
        execute(
            "INSERT INTO users (email, role, password_hash, created_at, updated_at)"
            " VALUES (?, 'member', 'x', '', '')",
            (name,),
        )


def test_listed_projects_are_hidden_from_who_is_not_listed():
    first, second = make("/a", 1), make("/b", 1, 2)
    make("/c", 3, visibility="everyone")
    assert find_scope(1, is_admin=False, key_projects=None) == WHOLE
    assert find_scope(2, is_admin=False, key_projects=None) == Scope(hidden=frozenset({first}))
    assert find_scope(3, is_admin=False, key_projects=None).hidden == {first, second}
    assert find_scope(None, is_admin=False, key_projects=None).hidden == {first, second}


def test_nothing_is_hidden_from_administrators():
    make("/a")
    assert find_scope(1, is_admin=True, key_projects=None).is_whole
    assert find_scope(None, is_admin=True, key_projects=None).is_whole


def test_a_limited_key_has_its_projects_and_no_hidden_one():
    hidden, other = make("/a"), make("/b", visibility="everyone")
    scope = find_scope(2, is_admin=False, key_projects=[hidden, other])
    assert [scope.allows(key) for key in (hidden, other, None)] == [False, True, False]
    nothing = find_scope(1, is_admin=True, key_projects=[])
    assert (nothing.only, nothing.is_whole, nothing.allows(other)) == (frozenset(), False, False)


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        (("listed", 1, 2), ("listed", 2, 3), ("listed", [2])),
        (("listed", 1), ("everyone",), ("listed", [1])),
        (("listed", 1), ("everyone", 3), ("listed", [1])),
        (("everyone",), ("listed", 3), ("listed", [3])),
        (("everyone",), ("everyone",), ("everyone", [])),
    ],
)
def test_a_merged_project_is_for_nobody_new(old, new, merged):
    first = make("/a-secret", *old[1:], visibility=old[0])
    second = make("/a-masked", *new[1:], visibility=new[0])
    before = read_totals()["auth_revision"]
    with writing():
        update_project(first, path="/a-masked", name="a")
    rows = fetch_all("SELECT key, visibility FROM projects")
    assert rows == [(second, merged[0])]
    assert list_user_ids(second) == merged[1]
    assert read_totals()["auth_revision"] == before + 1


def counts() -> dict[str, int]:
    assert find_missummed() == []
    return dict(fetch_all("SELECT path, conversation_count FROM projects"))


def test_sums_follow_what_becomes_of_conversations():
    first, second = make_conversation("/a"), make_conversation("/a")
    make_conversation("/b")
    assert counts() == {"/a": 2, "/b": 1}
    trash_conversation(first, scope=WHOLE)
    assert counts() == {"/a": 1, "/b": 1}
    restore_conversation(first, scope=WHOLE)
    delete_conversation(second, scope=WHOLE)
    assert counts() == {"/a": 1, "/b": 1}
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/a'")
    with writing():
        update_project(key, path="/b", name="b")
    assert counts() == {"/b": 2}


def test_sums_that_are_wrong_are_found():
    make_conversation("/a")
    make_conversation("/b")
    execute("UPDATE projects SET conversation_count = 7 WHERE path = '/b'")
    assert find_missummed() == ["/b"]
