"""``/api/api-keys``: keys of programs, which allow no more than who makes them may do."""

from __future__ import annotations

import pytest

from observatory.accounts import credentials, keys
from observatory.accounts.permissions import ROLES
from observatory.store import users
from observatory.store.database import execute, fetch_all
from tests.api.asking import ask, check_refusal
from tests.api.people import add_key, bare, make_person

READ = {"name": "reader", "scopes": ["conversations:read"]}


def make(client, person, **body):
    return client.post_json(
        "/api/api-keys", {**READ, **body}, headers=person.headers, expect_errors=True
    )


def get(client, key, path="/api/conversations", header="X-API-Key", prefix=""):
    return bare(client).get(path, headers={header: prefix + key}, expect_errors=True)


def test_a_key_is_shown_once(client):
    person = make_person(client)
    made = make(client, person).json["data"]
    key = made.pop("key")
    assert key.startswith("obs_") and key.startswith(made["prefix"])
    assert made["user_id"] == person.id
    listed = client.get("/api/api-keys", headers=person.headers)
    assert listed.json["data"]["api_keys"] == [made]
    assert key not in listed.text
    shown = client.get(f"/api/api-keys/{made['id']}", headers=person.headers)
    assert shown.json["data"] == made


@pytest.mark.parametrize(
    ("header", "prefix"),
    [
        ("X-API-Key", ""), ("Authorization", "Bearer "), ("Authorization", "ApiKey "),
        ("Authorization", "bearer "), ("Authorization", "APIKEY  "),
    ],
)  # fmt: skip
def test_a_key_is_taken_in_each_way(client, header, prefix):
    _, key = add_key(["conversations:read"])
    assert get(client, key, header=header, prefix=prefix).status_int == 200


def test_a_key_that_was_revoked_is_out_at_once(client):
    person = make_person(client)
    made = make(client, person).json["data"]
    assert get(client, made["key"]).status_int == 200
    client.delete(f"/api/api-keys/{made['id']}", headers=person.headers)
    check_refusal(get(client, made["key"]), 401, "UNAUTHORIZED")
    again = client.delete(f"/api/api-keys/{made['id']}", headers=person.headers, expect_errors=True)
    check_refusal(again, 404, "NOT_FOUND")


def test_a_key_ends_when_it_was_said_to(client):
    person = make_person(client)
    made = make(client, person, expires_at="1h").json["data"]
    assert get(client, made["key"]).status_int == 200
    execute(
        "UPDATE api_keys SET expires_at = '2026-01-01T00:00:00.000Z' WHERE key = ?", (made["id"],)
    )
    execute("UPDATE totals SET value = value + 1 WHERE name = 'auth_revision'")
    check_refusal(get(client, made["key"]), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("role", sorted(ROLES))
def test_nobody_gives_away_more_than_they_have(client, role):
    person = make_person(client, role)
    for scope in ROLES["admin"]:
        answer = make(client, person, scopes=[scope])
        if scope in ROLES[role]:
            assert answer.status_int == 201
        else:
            check_refusal(answer, 403, "FORBIDDEN")


def test_a_key_loses_what_its_user_loses(client, session):
    person = make_person(client, "member")
    made = make(client, person, scopes=["conversations:read", "conversations:write"]).json["data"]
    path = f"/api/conversations/{session}/tags/x"
    assert bare(client).put(path, headers={"X-API-Key": made["key"]}).status_int == 200
    users.update_user(person.id, role="viewer")
    answer = bare(client).put(path, headers={"X-API-Key": made["key"]}, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")
    assert get(client, made["key"]).status_int == 200
    users.update_user(person.id, role="analyst")
    check_refusal(get(client, made["key"]), 403, "FORBIDDEN")


def test_keys_of_others_do_not_exist(client):
    ada, eve = make_person(client, email="ada@example.org"), make_person(client)
    made = make(client, ada).json["data"]
    for method in (client.get, client.delete):
        known = method(f"/api/api-keys/{made['id']}", headers=eve.headers, expect_errors=True)
        unknown = method("/api/api-keys/12345", headers=eve.headers, expect_errors=True)
        check_refusal(known, 404, "NOT_FOUND")
        assert known.json["error"].replace(str(made["id"]), "N") == unknown.json["error"].replace(
            "12345", "N"
        )
    assert client.get("/api/api-keys", headers=eve.headers).json["data"]["api_keys"] == []
    answer = client.get("/api/api-keys?owner=all", headers=eve.headers, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")
    assert get(client, made["key"]).status_int == 200


def test_admins_look_after_all_keys(client):
    made = make(client, make_person(client)).json["data"]
    admin = make_person(client, "admin")
    listed = client.get("/api/api-keys?owner=all", headers=admin.headers).json["data"]
    assert made["id"] in [row["id"] for row in listed["api_keys"]]
    client.delete(f"/api/api-keys/{made['id']}", headers=admin.headers)
    check_refusal(get(client, made["key"]), 401, "UNAUTHORIZED")


def test_a_program_makes_no_keys_unless_it_may_do_everything(client):
    _, weak = add_key(["conversations:read", "conversations:write"])
    answer = bare(client).post_json(
        "/api/api-keys", READ, headers={"X-API-Key": weak}, expect_errors=True
    )
    check_refusal(answer, 403, "FORBIDDEN")
    assert client.post_json("/api/api-keys", READ).json["data"]["user_id"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "n" * 101), ("name", None), ("scopes", []), ("scopes", "admin"),
        ("scopes", ["root"]), ("scopes", [None]), ("scopes", ["*"]), ("expires_at", "soon"),
        ("expires_at", "0d"), ("expires_at", "2020-01-01"), ("expires_at", 5),
        ("project_ids", []), ("project_ids", [999]), ("project_ids", ["1"]), ("project_ids", 1),
        ("user_id", 1), ("key", "obs_mine"),
    ],
)  # fmt: skip
def test_what_can_not_be_taken_is_named(client, field, value):
    before = fetch_all("SELECT key FROM api_keys")
    answer = client.post_json("/api/api-keys", {**READ, field: value}, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]
    assert fetch_all("SELECT key FROM api_keys") == before


@pytest.mark.parametrize("text", ["30d", "12h", "2099-01-01", "2099-01-01T00:00:00Z", None])
def test_an_end_is_a_life_a_day_or_a_time(client, text):
    data = client.post_json("/api/api-keys", {**READ, "expires_at": text}).json["data"]
    assert (data["expires_at"] is None) == (text is None)


def test_a_project_that_is_not_there_for_somebody_is_like_one_that_is_not(client, session):
    execute("UPDATE projects SET visibility = 'listed'")
    [(hidden,)] = fetch_all("SELECT key FROM projects")
    person = make_person(client)
    for wanted in ([hidden], [999], [hidden, 999], [hidden, hidden + 1]):
        fields = check_refusal(make(client, person, project_ids=wanted), 400, "VALIDATION_ERROR")[
            "details"
        ]["fields"]
        assert fields == {"project_ids": [f"There is no project {min(wanted)}."]}
    assert make(client, make_person(client, "admin"), project_ids=[hidden]).status_int == 201


def test_a_key_of_an_account_that_goes_meanwhile_is_refused(client, monkeypatch):
    person = make_person(client)

    def make_key() -> str:
        users.delete_user(person.id)
        return credentials.make_key()

    monkeypatch.setattr(keys, "make_key", make_key)
    check_refusal(make(client, person), 401, "UNAUTHORIZED")


def test_a_key_for_everything_is_not_limited(client, session):
    body = {"name": "x", "scopes": ["admin"], "project_ids": [1]}
    answer = client.post_json("/api/api-keys", body, expect_errors=True)
    check_refusal(answer, 400, "VALIDATION_ERROR")


def test_the_last_use_is_told(client):
    key_id, key = add_key(["conversations:read"])
    assert ask(client, f"/api/api-keys/{key_id}")["last_used_at"] is None
    get(client, key)
    assert ask(client, f"/api/api-keys/{key_id}")["last_used_at"] is not None


def test_a_key_is_taken_while_its_use_can_not_be_noted(client, db):
    import peewee

    key_id, key = add_key(["conversations:read"])
    other = peewee.SqliteDatabase(str(db))
    other.connect()
    try:
        other.execute_sql("BEGIN IMMEDIATE")
        assert get(client, key).status_int == 200
        other.execute_sql("ROLLBACK")
    finally:
        other.close()
    assert ask(client, f"/api/api-keys/{key_id}")["last_used_at"] is None


def test_a_thousand_keys_are_remembered_and_each_is_itself(client, session):
    client.get("/api/conversations")
    for _ in range(1100):
        _, key = add_key(["metrics:read"])
        check_refusal(get(client, key), 403, "FORBIDDEN")
