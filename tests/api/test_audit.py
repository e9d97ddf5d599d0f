"""``/api/admin/audit``: what was done by whom."""

from __future__ import annotations

import pytest

from tests.api.asking import ask, check_refusal, walk
from tests.api.people import PASSWORD, add_user, bare, make_person, sign_in
from tests.api.sessions import SESSION


def last(client, **params):
    return ask(client, "/api/admin/audit", **params)["entries"][0]


def test_sign_ins_are_noted_with_where_they_came_from(client):
    user = add_user("ada@example.org")
    sign_in(client, "ada@example.org")
    entry = last(client)
    assert (entry["action"], entry["actor"], entry["target"]) == (
        "user.login", f"user:{user}", f"user:{user}",
    )  # fmt: skip
    assert entry["actor_name"] == "ada@example.org"
    assert entry["address"] and entry["request_id"]


def test_failed_ones_are_noted_without_what_was_typed(client):
    add_user("ada@example.org")
    for email in ("ada@example.org", "hunter2hunter2"):
        body = {"email": email, "password": "wrong password"}
        client.post_json("/api/auth/login", body, expect_errors=True)
    entries = ask(client, "/api/admin/audit", action="user.login_failed")["entries"]
    assert [entry["target"] for entry in entries] == [None, "user:1"]
    assert "hunter2" not in str(entries) and "wrong password" not in str(entries)


def test_changes_of_accounts_and_keys_are_noted_with_who_made_them(client):
    admin = make_person(client, "admin")
    headers = admin.headers
    body = {"email": "eve@example.org", "password": PASSWORD}
    user = client.post_json("/api/users", body, headers=headers).json["data"]["id"]
    client.patch_json(f"/api/users/{user}", {"disabled": True}, headers=headers)
    client.delete(f"/api/users/{user}", headers=headers)
    key = client.post_json(
        "/api/api-keys", {"name": "k", "scopes": ["metrics:read"]}, headers=headers
    ).json["data"]
    client.delete(f"/api/api-keys/{key['id']}", headers=headers)
    client.post("/api/auth/logout", headers=headers)
    entries = ask(client, "/api/admin/audit", actor=f"user:{admin.id}")["entries"]
    assert [entry["action"] for entry in entries] == [
        "user.logout", "key.revoke", "key.create", "user.delete", "user.update", "user.create",
        "user.login",
    ]  # fmt: skip
    assert key["key"] not in str(entries) and PASSWORD not in str(entries)
    assert entries[4]["details"] == {"changed": ["disabled"], "role": "member", "disabled": True}


def test_what_is_removed_for_good_and_what_is_taken_out_is_noted(client, session):
    client.get(f"/api/conversations/{SESSION}/export?format=markdown")
    entry = last(client)
    assert (entry["action"], entry["target"]) == (
        "conversation.export", f"conversation:{SESSION}",
    )  # fmt: skip
    assert entry["details"] == {"format": "markdown"}
    client.delete(f"/api/conversations/{SESSION}")
    assert last(client)["action"] == "conversation.export"
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    assert last(client)["action"] == "conversation.delete_permanently"


def test_an_export_after_somebody_wrote_is_noted_too(client, session):
    client.put(f"/api/conversations/{SESSION}/tags/x")
    client.get(f"/api/conversations/{SESSION}/export")
    assert last(client)["action"] == "conversation.export"


def test_it_is_read_page_by_page(client):
    for number in range(7):
        add_user(f"u{number}@example.org")
        sign_in(client, f"u{number}@example.org")
    found = walk(client, "/api/admin/audit", limit=3)
    assert found == sorted(found, reverse=True) and len(found) == 7


def test_it_is_narrowed(client):
    add_user("ada@example.org")
    sign_in(client, "ada@example.org")
    assert ask(client, "/api/admin/audit", action="key.create")["entries"] == []
    assert len(ask(client, "/api/admin/audit", date_from="2026-01-01")["entries"]) == 1
    assert ask(client, "/api/admin/audit", date_to="2026-01-01")["entries"] == []
    assert len(ask(client, "/api/admin/audit", target="user:1")["entries"]) == 1
    answer = client.get("/api/admin/audit?action=anything", expect_errors=True)
    check_refusal(answer, 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("method", ["delete", "put", "post", "patch"])
def test_nobody_changes_it(client, method):
    answer = getattr(client, method)("/api/admin/audit", expect_errors=True)
    check_refusal(answer, 405, "METHOD_NOT_ALLOWED")
    member = make_person(client)
    answer = bare(client).get("/api/admin/audit", headers=member.headers, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")
