"""``/api/users``: accounts, for admins."""

from __future__ import annotations

import pytest

from tests.api.asking import ask, check_refusal
from tests.api.people import PASSWORD, add_key, add_user, bare, make_person, sign_in

ADA = {"email": "Ada@example.org", "password": PASSWORD, "name": "Ada", "role": "viewer"}


def test_an_account_is_made_shown_and_listed(client):
    made = client.post_json("/api/users", ADA).json["data"]
    assert (made["email"], made["role"], made["disabled"]) == ("ada@example.org", "viewer", False)
    assert ask(client, f"/api/users/{made['id']}") == made
    assert ask(client, "/api/users")["users"] == [made]
    assert sign_in(client, "ada@example.org").id == made["id"]
    assert "hash" not in str(made)


def test_an_address_has_one_account(client):
    client.post_json("/api/users", ADA)
    again = client.post_json("/api/users", {**ADA, "email": "ADA@EXAMPLE.ORG"}, expect_errors=True)
    check_refusal(again, 409, "CONFLICT")


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "x"), ("password", "short"), ("role", "root"), ("role", None), ("nick", "x")],
)
def test_what_can_not_be_taken_is_named(client, field, value):
    answer = client.post_json("/api/users", {**ADA, field: value}, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]


def test_role_name_and_password_are_changed(client):
    person = make_person(client, "viewer")
    change = {"role": "member", "name": "V.", "password": "another good password"}
    data = client.patch_json(f"/api/users/{person.id}", change).json["data"]
    assert (data["role"], data["name"]) == ("member", "V.")
    gone = bare(client).get("/api/auth/profile", headers=person.headers, expect_errors=True)
    check_refusal(gone, 401, "UNAUTHORIZED")
    sign_in(client, person.email, "another good password")


def test_being_disabled_ends_sign_ins_and_keys_and_is_taken_back(client):
    person = make_person(client)
    _, key = add_key(["conversations:read"], user_key=person.id)
    client.patch_json(f"/api/users/{person.id}", {"disabled": True})
    for headers in (person.headers, {"X-API-Key": key}):
        answer = bare(client).get("/api/conversations", headers=headers, expect_errors=True)
        check_refusal(answer, 401, "UNAUTHORIZED")
    client.patch_json(f"/api/users/{person.id}", {"disabled": False})
    bare(client).get("/api/conversations", headers={"X-API-Key": key})
    answer = bare(client).get("/api/conversations", headers=person.headers, expect_errors=True)
    check_refusal(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize("change", [{}, {"disabled": None}, {"disabled": 1}, {"email": "a@b"}])
def test_a_change_is_of_something_known(client, change):
    user = add_user("a@example.org")
    answer = client.patch_json(f"/api/users/{user}", change, expect_errors=True)
    check_refusal(answer, 400, "VALIDATION_ERROR")


def test_an_account_is_removed_with_its_keys(client):
    person = make_person(client)
    key_id, key = add_key(["conversations:read"], user_key=person.id)
    assert client.delete(f"/api/users/{person.id}").json["data"] == {"id": person.id}
    for headers in (person.headers, {"X-API-Key": key}):
        answer = bare(client).get("/api/conversations", headers=headers, expect_errors=True)
        check_refusal(answer, 401, "UNAUTHORIZED")
    for path in (f"/api/users/{person.id}", f"/api/api-keys/{key_id}"):
        check_refusal(client.get(path, expect_errors=True), 404, "NOT_FOUND")
    assert add_user("b@example.org") > person.id


def test_the_last_admin_stays(client):
    admin = add_user("admin@example.org", "admin")
    add_user("other@example.org", "member")
    for change in ({"disabled": True}, {"role": "member"}):
        answer = client.patch_json(f"/api/users/{admin}", change, expect_errors=True)
        check_refusal(answer, 409, "CONFLICT")
    check_refusal(client.delete(f"/api/users/{admin}", expect_errors=True), 409, "CONFLICT")
    assert ask(client, f"/api/users/{admin}")["role"] == "admin"
    add_user("second@example.org", "admin")
    client.delete(f"/api/users/{admin}")


@pytest.mark.parametrize("path", ["/api/users/999", "/api/users/0"])
def test_who_is_not_there_is_not_found(client, path):
    for answer in (
        client.get(path, expect_errors=True),
        client.delete(path, expect_errors=True),
        client.patch_json(path, {"name": "x"}, expect_errors=True),
    ):
        check_refusal(answer, 404, "NOT_FOUND")
