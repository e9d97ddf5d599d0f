"""Saying for whom a project is there: ``PATCH /api/projects/{id}``."""

from __future__ import annotations

from typing import Any

import pytest

from observatory.api import schemas
from observatory.store.database import execute, fetch_one
from observatory.store.projects import find_scope
from observatory.store.totals import read_totals
from tests.api.asking import ask, check_refusal
from tests.api.viewers import project_key, sign_in

PATH = "/home/ada/engine"


@pytest.fixture
def users(db) -> list[int]:
    """Three users, by their ids."""
    for name in ("ada", "eve", "bob"):
        execute(
            "INSERT INTO users (email, role, password_hash, created_at, updated_at)"
            " VALUES (?, 'member', 'x', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z')",
            (f"{name}@ada.test",),
        )
    return [1, 2, 3]


@pytest.fixture
def address(add, users) -> str:
    add(1, "secret plan", cwd=PATH)
    add(2, "open plan", cwd="/home/ada/other")
    return f"/api/projects/{project_key(PATH)}"


def change(client: Any, address: str, **body: Any) -> Any:
    return client.patch_json(address, body, expect_errors=True)


def revision() -> int:
    return read_totals()["auth_revision"]


def scope_of_user(user: int | None) -> Any:
    return find_scope(user, is_admin=False, key_projects=None)


def test_a_project_is_for_everyone_until_somebody_says_otherwise(client, address):
    assert {p["visibility"] for p in ask(client, "/api/projects")["projects"]} == {"everyone"}
    assert ask(client, address)["user_ids"] == []


def test_a_listed_project_is_there_for_its_users(client, address):
    told = change(client, address, visibility="listed", user_ids=[2, 1, 2])
    schemas.ProjectDetail().load(told.json["data"])
    assert told.json["data"]["visibility"] == "listed"
    assert told.json["data"]["user_ids"] == [1, 2]
    assert told.json["data"].items() <= ask(client, address).items()
    for user, is_there in ((1, True), (2, True), (3, False), (None, False)):
        viewer = sign_in(scope_of_user(user))
        assert viewer.get(address, expect_errors=True).status_int == (200 if is_there else 404)
        found = ask(viewer, "/api/search", q="plan")
        assert len(found["hits"]) == 1 + is_there


def test_one_of_the_two_can_be_changed_alone(client, address):
    change(client, address, user_ids=[3])
    assert ask(client, address)["visibility"] == "everyone"
    change(client, address, visibility="listed")
    assert ask(client, address)["user_ids"] == [3]
    change(client, address, user_ids=[])
    assert (ask(client, address)["visibility"], ask(client, address)["user_ids"]) == ("listed", [])
    change(client, address, visibility="everyone")
    assert scope_of_user(1).is_whole


def test_what_was_known_of_who_signed_in_is_old_then(client, address):
    before = revision()
    change(client, address, visibility="listed")
    assert revision() == before + 1
    change(client, address, visibility="listed", user_ids=[9])
    assert revision() == before + 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"visibility": None}, "visibility"),
        ({"visibility": "nobody"}, "visibility"),
        ({"user_ids": [0]}, "user_ids"),
        ({"user_ids": ["1"]}, "user_ids"),
        ({"user_ids": None}, "user_ids"),
        ({"user_ids": 1}, "user_ids"),
        ({"visibility": "listed", "name": "x"}, "name"),
    ],
)
def test_a_wrong_body_is_refused_by_field(client, address, body, field):
    error = check_refusal(change(client, address, **body), 400, "VALIDATION_ERROR")
    assert list(error["details"]["fields"]) == [field]


def test_unknown_users_are_named_and_nothing_is_changed(client, address):
    answer = change(client, address, visibility="listed", user_ids=[8, 1, 9])
    error = check_refusal(answer, 400, "VALIDATION_ERROR")
    assert "8, 9" in error["details"]["fields"]["user_ids"][0]
    assert (ask(client, address)["visibility"], ask(client, address)["user_ids"]) == (
        "everyone", [],
    )  # fmt: skip


def test_an_unknown_project_is_not_found(client, address):
    check_refusal(change(client, "/api/projects/404", visibility="listed"), 404, "NOT_FOUND")


def test_only_administrators_say_so_and_see_for_whom(client, address):
    change(client, address, visibility="listed", user_ids=[1])
    member, admin = sign_in(scope_of_user(1)), sign_in(permissions=("admin",), name="user:2")
    answer = change(member, address, visibility="everyone")
    assert "admin" in check_refusal(answer, 403, "FORBIDDEN")["error"]
    assert ask(member, address)["visibility"] == "listed"
    assert "user_ids" not in ask(member, address)
    assert "user_ids" not in ask(member, address, fields="path,user_ids")
    assert ask(admin, address)["user_ids"] == [1]
    assert change(admin, address, visibility="everyone").status_int == 200


def test_a_hidden_project_does_not_come_back_for_everyone(client, address):
    change(client, address, visibility="listed", user_ids=[1])
    [row] = ask(client, "/api/conversations", project_path=PATH)["conversations"]
    client.delete(f"/api/conversations/{row['id']}?permanent=true")
    assert ask(client, address)["conversation_count"] == 0
    body = {"title": "again", "project_path": PATH}
    client.post_json("/api/conversations", body)
    assert (ask(client, address)["visibility"], ask(client, address)["user_ids"]) == ("listed", [1])


def test_a_project_of_everyone_goes_with_its_last_conversation(client, address):
    before = revision()
    [row] = ask(client, "/api/conversations", project_path=PATH)["conversations"]
    client.delete(f"/api/conversations/{row['id']}?permanent=true")
    client.get(address, status=404)
    assert revision() == before + 1


def test_a_user_who_is_removed_is_no_longer_listed(client, address):
    change(client, address, visibility="listed", user_ids=[1, 2])
    execute("DELETE FROM users WHERE key = 1")
    assert ask(client, address)["user_ids"] == [2]
    assert fetch_one("SELECT count(*) FROM project_users") == (1,)
