"""What is hidden from people and keys, and that a change holds for the very next request."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from observatory.store.users import delete_user, update_user
from tests.api.asking import ask
from tests.api.people import add_key, add_user, bare, sign_in
from tests.api.test_visibility import CURSOR, READS, addresses, decoded
from tests.api.viewers import FORK, HIDDEN, MARK, VISIBLE, build, project_key
from tests.planted import PLANTS

SCOPES = ["conversations:read", "conversations:write", "files:write"]
OWNER = "owner@example.org"
WHO = ["member", "viewer", "analyst", "a member's key", "a key limited to both"]
CACHED = (
    "/api/projects", "/api/conversations", f"/api/conversations/{FORK}",
    f"/api/conversations/{FORK}/messages", "/api/files", "/api/search?q=fork", "/api/secrets",
)  # fmt: skip


@pytest.fixture
def archive(db, write, ingest) -> None:
    """An archive with a part that no account and no key here may see."""
    build(write, ingest, secret=PLANTS[0](random.Random(1)).text)


@pytest.fixture
def enter(client, archive) -> Callable[[str], Any]:
    """Returns a client whose requests carry credentials of somebody."""

    def come_in(who: str) -> Any:
        one = bare(client)
        if who in ("member", "viewer", "analyst"):
            add_user(OWNER, who)
            one.extra_environ["HTTP_AUTHORIZATION"] = sign_in(client, OWNER).headers[
                "Authorization"
            ]
            return one
        is_limited = who == "a key limited to both"
        projects = [project_key(HIDDEN), project_key(VISIBLE)] if is_limited else None
        _, text = add_key(SCOPES, user_key=add_user(OWNER), project_keys=projects)
        one.extra_environ["HTTP_X_API_KEY"] = text
        return one

    return come_in


def hide(client: Any, path: str, *users: int) -> None:
    body = {"visibility": "listed", "user_ids": users}
    client.patch_json(f"/api/projects/{project_key(path)}", body)


def paths(client: Any) -> list[str]:
    return sorted(project["path"] for project in ask(client, "/api/projects")["projects"])


@pytest.mark.parametrize("who", WHO)
def test_nothing_that_is_hidden_is_told(enter, who):
    one = enter(who)
    for address in (address for path in READS for address in addresses(path)):
        answer = one.get(address, expect_errors=True)
        if answer.status_int == 200:
            assert MARK not in CURSOR.sub(decoded, answer.text).lower(), address


@pytest.mark.parametrize("path", CACHED)
@pytest.mark.parametrize("who", WHO)
def test_what_becomes_hidden_is_gone_at_once_and_comes_back(client, enter, who, path):
    one = enter(who)
    before = one.get(path, expect_errors=True)
    if who == "analyst" and path != "/api/projects":
        assert before.status_int == 403
        return
    hide(client, VISIBLE)
    after = one.get(path, headers={"If-None-Match": before.headers["ETag"]}, expect_errors=True)
    assert after.status_int == (404 if f"/{FORK}" in path else 200)
    assert FORK not in after.text.replace(repr(FORK), "") and VISIBLE not in after.text
    client.patch_json(f"/api/projects/{project_key(VISIBLE)}", {"visibility": "everyone"})
    assert one.get(path).json["data"] == before.json["data"]


def test_a_key_sees_what_it_is_limited_to_as_long_as_its_owner_does(client, enter):
    one = enter("a key limited to both")
    owner = ask(client, "/api/users")["users"][0]["id"]
    add_user("admin@example.org", "admin")
    assert paths(one) == [VISIBLE]
    hide(client, HIDDEN, owner)
    assert paths(one) == [VISIBLE, HIDDEN]
    hide(client, HIDDEN)
    assert paths(one) == [VISIBLE]
    update_user(owner, role="admin")
    assert paths(one) == [VISIBLE, HIDDEN]
    update_user(owner, role="member")
    assert paths(one) == [VISIBLE]
    delete_user(owner)
    one.get("/api/projects", status=401)


def test_a_key_does_not_see_what_gets_the_number_of_its_project(client, archive, add):
    conversation = add(900, cwd="/home/ada/gone")
    number = project_key("/home/ada/gone")
    _, text = add_key(SCOPES, project_keys=[number])
    one = bare(client)
    one.extra_environ["HTTP_X_API_KEY"] = text
    before = one.get("/api/conversations")
    assert before.json["data"]["pagination"]["total"] == 1
    client.delete(f"/api/conversations/{conversation}?permanent=true")
    add(901, cwd="/home/ada/next")
    assert project_key("/home/ada/next") == number
    after = one.get("/api/conversations", headers={"If-None-Match": before.headers["ETag"]})
    assert after.json["data"]["pagination"]["total"] == 0


def test_a_project_tells_at_once_that_one_of_its_users_is_gone(client, archive):
    user = add_user(OWNER)
    hide(client, VISIBLE, user)
    address = f"/api/projects/{project_key(VISIBLE)}"
    tag = client.get(address).headers["ETag"]
    delete_user(user)
    again = client.get(address, headers={"If-None-Match": tag})
    assert again.json["data"]["user_ids"] == []


def request_new(one: Any) -> tuple[str, bytes]:
    return "/api/conversations", json.dumps({"title": "x", "project_path": VISIBLE}).encode()


def request_restored(one: Any) -> tuple[str, bytes]:
    one.delete(f"/api/conversations/{FORK}")
    return f"/api/conversations/{FORK}/restore", b""


def request_message(one: Any) -> tuple[str, bytes]:
    body = {"title": "x", "project_path": VISIBLE}
    made = one.post_json("/api/conversations", body).json["data"]["id"]
    message = {"role": "user", "content": "hello"}
    return f"/api/conversations/{made}/messages", json.dumps(message).encode()


def request_messages(one: Any) -> tuple[str, bytes]:
    path, message = request_message(one)
    return path, b'{"messages":[' + message + b"]}"


def request_reading(one: Any) -> tuple[str, bytes]:
    files = ask(one, "/api/files")["files"]
    [key] = [file["id"] for file in files if file["filename"] == f"{FORK}.jsonl"]
    return f"/api/files/{key}/reprocess", b""


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (request_new, 403), (request_restored, 404), (request_message, 404),
        (request_messages, 404), (request_reading, 404),
    ],
)  # fmt: skip
@pytest.mark.parametrize("who", ["member", "a member's key"])
def test_a_repeated_request_is_not_answered_from_what_became_hidden(
    client, enter, who, make, status
):
    one = enter(who)
    path, body = make(one)
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}

    def send(**options: Any) -> Any:
        return one.post(path, body, headers=headers, **options)

    first = send()
    assert send().headers["Idempotency-Replayed"] == "true"
    hide(client, VISIBLE)
    assert send(status=status).json["success"] is False
    client.patch_json(f"/api/projects/{project_key(VISIBLE)}", {"visibility": "everyone"})
    assert send().json["data"] == first.json["data"]
