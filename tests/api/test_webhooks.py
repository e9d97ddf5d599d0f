"""``/api/webhooks``: who may make them, what they take, and that secrets are shown once."""

from __future__ import annotations

import pytest

from observatory.accounts.permissions import ADMIN
from observatory.api.webhook_schemas import DeliveryParams
from observatory.store import webhook_deliveries, webhooks
from observatory.store.database import execute, fetch_all
from observatory.store.event_notes import TYPES
from observatory.store.scopes import Scope
from tests.api.asking import ask, check_refusal, walk
from tests.api.people import add_key, bare, make_person
from tests.api.viewers import sign_in

URL = "https://example.org/hook?token=t0psecret"
SECRET = "correct horse battery staple"
UNKNOWN = "There is no webhook with the id '1'."


def make(client, **body):
    answer = client.post_json("/api/webhooks", {"url": URL, **body}, status=201)
    return answer.json["data"]


def shown(hook):
    return {name: value for name, value in hook.items() if name != "secret"}


def refuse(client, method, path, body=None, *, status=400, code="VALIDATION_ERROR"):
    options = {"params": body} if body is not None else {}
    answer = getattr(client, method)(path, expect_errors=True, **options)
    return check_refusal(answer, status, code)


def add_deliveries(client, hook, number, status="dead"):
    """Make deliveries that are over already."""
    ids = []
    for _ in range(number):
        ids.append(client.post(f"/api/webhooks/{hook['id']}/test").json["data"]["id"])
        execute(
            "UPDATE webhook_deliveries SET status = ?, next_attempt_at = NULL, attempts = 8,"
            " finished_at = created_at WHERE status = 'pending'",
            (status,),
        )
    return ids


def test_a_webhook_is_made_listed_and_shown(client):
    hook = make(
        client, description="build", events=["message_added", "message_added"],
        filters={"role": "user", "tool": None},
    )  # fmt: skip
    assert hook["events"] == ["message_added"]
    assert hook["filters"] == {
        "project_path": None, "conversation_id": None, "role": "user", "tool": None,
    }  # fmt: skip
    assert (hook["url"], hook["description"], hook["is_active"]) == (URL, "build", True)
    assert hook["project_ids"] is None
    assert ask(client, "/api/webhooks")["webhooks"] == [shown(hook)]
    assert ask(client, f"/api/webhooks/{hook['id']}") == shown(hook)


def test_a_secret_that_we_made_is_shown_once(client):
    hook = make(client)
    assert hook["secret"].startswith("whsec_")
    assert fetch_all("SELECT secret FROM webhooks") == [(hook["secret"],)]
    path = f"/api/webhooks/{hook['id']}"
    for answer in (
        client.get("/api/webhooks"), client.get(path), client.get(f"{path}/deliveries"),
        client.patch_json(path, {"description": "x"}), client.post(f"{path}/test"),
        client.get("/api/admin/audit"), client.delete(path),
    ):  # fmt: skip
        assert hook["secret"] not in answer.text
    assert hook["secret"] not in str(fetch_all("SELECT * FROM audit_log"))


def test_a_secret_that_was_given_is_not_shown_at_all(client):
    hook = make(client, secret=SECRET)
    assert hook["secret"] is None
    assert fetch_all("SELECT secret FROM webhooks") == [(SECRET,)]


def test_a_secret_can_be_changed_by_either_side(client):
    hook = make(client)
    path = f"/api/webhooks/{hook['id']}"
    made = client.patch_json(path, {"rotate_secret": True}).json["data"]["secret"]
    assert made != hook["secret"]
    assert fetch_all("SELECT secret FROM webhooks") == [(made,)]
    assert client.patch_json(path, {"secret": SECRET}).json["data"]["secret"] is None
    assert fetch_all("SELECT secret FROM webhooks") == [(SECRET,)]


def test_what_is_changed_changes_and_the_rest_stays(client):
    hook = make(client, events=["message_added"], filters={"role": "user"})
    path = f"/api/webhooks/{hook['id']}"
    changed = client.patch_json(path, {"description": "x"}).json["data"]
    same = ("url", "events", "filters", "is_active", "created_at")
    assert {n: changed[n] for n in same} == {n: hook[n] for n in same}
    assert changed["description"] == "x"
    body = {"url": "http://example.org/", "events": [], "filters": {"tool": "Bash"}}
    changed = client.patch_json(path, {**body, "is_active": False}).json["data"]
    assert changed["filters"] == {**hook["filters"], "role": None, "tool": "Bash"}
    assert (changed["url"], changed["events"]) == (body["url"], [])
    assert changed["is_active"] is False and changed["state"]["switched_off"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", None), ("url", ""), ("url", 5), ("url", "example.org"), ("url", "ftp://a.org/"),
        ("url", "https://u:p@example.org/"), ("url", "https://example.org/#x"),
        ("url", "https://example.org/" + "x" * 2000), ("url", "https://exa mple.org/"),
        ("url", "http://127.0.0.1/"), ("url", "http://localhost:8080/"), ("url", "http://[::1]/"),
        ("url", "http://169.254.169.254/latest"), ("url", "http://2130706433/"),
        ("url", "http://[::ffff:10.0.0.1]/"), ("url", "https://example.org\0/"),
        ("description", "x" * 501), ("description", None), ("description", 1),
        ("events", "message_added"), ("events", ["no_such_type"]), ("events", [None]),
        ("events", ["webhook_test"]), ("events", ["message_added"] * 100), ("events", None),
        ("filters", []), ("filters", None), ("filters", {"role": "root"}),
        ("filters", {"no_such_filter": 1}), ("filters", {"tool": ""}),
        ("filters", {"project_path": "x" * 5000}), ("filters", {"conversation_id": 5}),
        ("secret", "fifteen bytes.."), ("secret", ""), ("secret", "x" * 201),
        ("secret", "\0" * 16), ("secret", 1234567890123456),
        ("is_active", 1), ("is_active", None), ("is_active", "true"),
        ("id", 1), ("project_ids", [1]), ("state", {}), ("no_such_field", 1),
    ],
)  # fmt: skip
def test_what_can_not_be_taken_is_named(client, field, value):
    answer = client.post_json("/api/webhooks", {"url": URL, field: value}, expect_errors=True)
    error = check_refusal(answer, 400, "VALIDATION_ERROR")
    assert list(error["details"]["fields"]) == [field]
    assert fetch_all("SELECT key FROM webhooks") == []
    hook = make(client)
    before = fetch_all("SELECT * FROM webhooks")
    answer = client.patch_json(f"/api/webhooks/{hook['id']}", {field: value}, expect_errors=True)
    error = check_refusal(answer, 400, "VALIDATION_ERROR")
    assert list(error["details"]["fields"]) == [field]
    assert fetch_all("SELECT * FROM webhooks") == before


def test_a_secret_is_measured_in_bytes(client):
    make(client, secret="\u00e9" * 8)


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "body"), ({"secret": SECRET, "rotate_secret": True}, "rotate_secret"),
     ({"rotate_secret": None}, "rotate_secret"), ({"secret": None}, "secret")],
)  # fmt: skip
def test_a_change_that_is_none_or_two_is_refused(client, body, field):
    hook = make(client)
    answer = client.patch_json(f"/api/webhooks/{hook['id']}", body, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]


def test_every_type_can_be_wanted(client):
    assert make(client, events=list(TYPES))["events"] == sorted(TYPES)


def test_there_is_a_largest_number_of_webhooks(client, monkeypatch):
    monkeypatch.setattr(webhooks, "MAX_WEBHOOKS", 2)
    make(client), make(client)
    answer = client.post_json("/api/webhooks", {"url": URL}, expect_errors=True)
    check_refusal(answer, 409, "CONFLICT")
    page = ask(client, "/api/webhooks", limit="1", offset="1")
    assert (len(page["webhooks"]), page["pagination"]["total"]) == (1, 2)


def test_what_does_not_exist_is_not_found(client):
    for method, path in (
        ("get", ""), ("delete", ""), ("post", "/test"), ("get", "/deliveries"),
        ("post", "/deliveries/x/redeliver"),
    ):  # fmt: skip
        told = refuse(client, method, f"/api/webhooks/1{path}", status=404, code="NOT_FOUND")
        assert told["error"] == UNKNOWN
    answer = client.patch_json("/api/webhooks/1", {"description": "x"}, expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")
    refuse(client, "get", "/api/webhooks/first")


def test_an_id_is_never_given_again(client):
    first = make(client)
    assert client.delete(f"/api/webhooks/{first['id']}").json["data"] == {"id": first["id"]}
    assert make(client)["id"] > first["id"]


# Who may


@pytest.mark.parametrize("role", ["member", "viewer", "analyst"])
def test_webhooks_are_for_admins(client, role):
    hook = make(client)
    headers = make_person(client, role).headers
    for path in ("/api/webhooks", f"/api/webhooks/{hook['id']}"):
        answer = bare(client).get(path, headers=headers, expect_errors=True)
        check_refusal(answer, 403, "FORBIDDEN")


@pytest.fixture
def two_projects(add) -> tuple[int, int]:
    add(1, cwd="/home/ada/one")
    add(2, cwd="/home/ada/two")
    [(one,), (two,)] = fetch_all("SELECT key FROM projects ORDER BY path")
    return one, two


def limited(*keys):
    return sign_in(Scope(only=frozenset(keys)), permissions=(ADMIN,))


def test_who_sees_some_projects_makes_webhooks_for_these(client, two_projects):
    one, two = two_projects
    mine = make(limited(one))
    assert mine["project_ids"] == [one]
    stored = webhooks.get_webhook(mine["id"], scope=Scope(only=frozenset({one})))
    assert stored.scope == Scope(only=frozenset({one}))
    assert make(limited(one, two))["project_ids"] == [one, two]


def test_a_webhook_that_tells_more_does_not_exist(client, two_projects):
    one, two = two_projects
    whole, both, other = make(client), make(limited(one, two)), make(limited(two))
    mine = make(limited(one))
    eve = limited(one)
    assert ask(eve, "/api/webhooks")["webhooks"] == [shown(mine)]
    assert ask(eve, "/api/webhooks")["pagination"]["total"] == 1
    assert len(ask(limited(one, two), "/api/webhooks")["webhooks"]) == 3
    assert len(ask(client, "/api/webhooks")["webhooks"]) == 4
    [delivery] = add_deliveries(client, whole, 1)
    before = fetch_all("SELECT * FROM webhooks"), fetch_all("SELECT * FROM webhook_deliveries")
    for hidden in (whole, both, other):
        path = f"/api/webhooks/{hidden['id']}"
        for method, rest in (
            ("get", ""), ("delete", ""), ("post", "/test"), ("get", "/deliveries"),
            ("post", f"/deliveries/{delivery}/redeliver"),
        ):  # fmt: skip
            told = refuse(eve, method, path + rest, status=404, code="NOT_FOUND")
            assert told["error"] == UNKNOWN.replace("'1'", f"'{hidden['id']}'")
        answer = eve.patch_json(path, {"is_active": False}, expect_errors=True)
        check_refusal(answer, 404, "NOT_FOUND")
    after = fetch_all("SELECT * FROM webhooks"), fetch_all("SELECT * FROM webhook_deliveries")
    assert after == before
    assert eve.patch_json(f"/api/webhooks/{mine['id']}", {"description": "x"}).status_int == 200


def test_a_project_that_goes_takes_its_part_along(client, two_projects):
    one, two = two_projects
    hook = make(limited(one, two))
    execute("UPDATE conversations SET project_key = NULL")
    execute("DELETE FROM projects WHERE key = ?", (two,))
    assert ask(client, f"/api/webhooks/{hook['id']}")["project_ids"] == [one]


def test_who_may_not_see_some_projects_makes_none(client):
    app = sign_in(Scope(hidden=frozenset({1})), permissions=(ADMIN,))
    answer = app.post_json("/api/webhooks", {"url": URL}, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")


def test_a_key_makes_a_webhook_that_stays_when_the_key_ends(client):
    key_id, key = add_key([ADMIN])
    answer = bare(client).post_json("/api/webhooks", {"url": URL}, headers={"X-API-Key": key})
    client.delete(f"/api/api-keys/{key_id}")
    assert ask(client, f"/api/webhooks/{answer.json['data']['id']}")["is_active"] is True


# Deliveries


def test_a_test_waits_to_be_sent(client):
    hook = make(client)
    path = f"/api/webhooks/{hook['id']}"
    delivery = client.post(f"{path}/test", status=202).json["data"]
    assert (delivery["status"], delivery["event_type"]) == ("pending", "webhook_test")
    assert (delivery["event_id"], delivery["webhook_id"]) == (None, hook["id"])
    assert ask(client, f"{path}/deliveries")["deliveries"] == [delivery]
    assert ask(client, path)["state"]["pending_deliveries"] == 1


def test_few_tests_wait_at_a_time(client, monkeypatch):
    monkeypatch.setattr(webhook_deliveries, "MAX_PENDING_TESTS", 1)
    path = f"/api/webhooks/{make(client)['id']}/test"
    client.post(path)
    refuse(client, "post", path, status=409, code="CONFLICT")


def test_deliveries_are_paged_and_filtered(client):
    hook, other = make(client), make(client)
    ids = add_deliveries(client, hook, 3) + add_deliveries(client, hook, 2, "delivered")
    add_deliveries(client, other, 1)
    path = f"/api/webhooks/{hook['id']}/deliveries"
    assert walk(client, path, limit="2") == ids[::-1]
    assert walk(client, path, limit="2", status="dead") == ids[2::-1]
    assert ask(client, path, status="dead")["pagination"]["total"] == 3
    assert ask(client, path, status="pending")["deliveries"] == []
    for query in ("status=lost", "status=", "cursor=x", "limit=0", "limit=101", "fields=id"):
        refuse(client, "get", f"{path}?{query}")
    assert set(DeliveryParams().fields) == {"limit", "offset", "cursor", "status"}


@pytest.mark.parametrize("status", ["dead", "delivered"])
def test_what_is_over_can_be_sent_again(client, status):
    hook = make(client)
    [identifier] = add_deliveries(client, hook, 1, status)
    path = f"/api/webhooks/{hook['id']}/deliveries/{identifier}/redeliver"
    again = client.post(path, status=202).json["data"]
    assert (again["id"], again["status"], again["attempts"]) == (identifier, "pending", 0)
    assert again["next_attempt_at"] is not None and again["finished_at"] is None
    refuse(client, "post", path, status=409, code="CONFLICT")


def test_what_says_nothing_or_is_anothers_is_not_sent_again(client):
    hook, other = make(client), make(client)
    [dropped] = add_deliveries(client, hook, 1, "dropped")
    path = f"/api/webhooks/{hook['id']}/deliveries"
    refuse(client, "post", f"{path}/{dropped}/redeliver", status=409, code="CONFLICT")
    [dead] = add_deliveries(client, other, 1)
    refuse(client, "post", f"{path}/{dead}/redeliver", status=404, code="NOT_FOUND")


def test_nothing_is_sent_by_one_that_is_switched_off(client):
    hook = make(client)
    [dead] = add_deliveries(client, hook, 1)
    path = f"/api/webhooks/{hook['id']}"
    client.patch_json(path, {"is_active": False})
    refuse(client, "post", f"{path}/test", status=409, code="CONFLICT")
    refuse(client, "post", f"{path}/deliveries/{dead}/redeliver", status=409, code="CONFLICT")


def test_what_is_done_is_in_the_audit_log_without_what_is_secret(client):
    hook = make(client, secret=SECRET)
    path = f"/api/webhooks/{hook['id']}"
    [dead] = add_deliveries(client, hook, 1)
    client.post(f"{path}/deliveries/{dead}/redeliver")
    client.patch_json(path, {"secret": SECRET + "!"})
    client.delete(path)
    log = client.get("/api/admin/audit?target=webhook:1")
    assert "t0psecret" not in log.text and "correct" not in log.text
    entries = log.json["data"]["entries"]
    assert [entry["action"].removeprefix("webhook.") for entry in entries] == [
        "delete", "update", "redeliver", "test", "create",
    ]  # fmt: skip
    details = [entry["details"] for entry in entries]
    assert details[0] == {"address": "https://example.org"}
    assert details[1] == {"address": "https://example.org", "changed": ["secret"]}
    assert details[2] == {"delivery": dead}
    assert {entry["actor"] for entry in entries} == {"key:1"}
