"""``/api/events``: what changed, to whom it may be told, and tickets."""

from __future__ import annotations

import json

import peewee
import pytest

from observatory.app import create_app
from observatory.store.database import database, execute, fetch_all
from observatory.store.scopes import Scope
from tests.api.people import add_key, bare
from tests.api.viewers import sign_in


def read_stream(text: str) -> list[tuple[int | None, str, dict]]:
    """Return the events of a stream: id, type, data; comments and lone ids are passed over."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in lines:
            number = int(lines["id"]) if "id" in lines else None
            found.append((number, lines["event"], json.loads(lines["data"])))
    return found


def make(client, title="hello"):
    return client.post_json("/api/conversations", {"title": title}).json["data"]["id"]


def test_the_newest_come_without_a_place(client):
    for number in range(4):
        make(client, f"number {number}")
    data = client.get("/api/events", {"limit": 2}).json["data"]
    titles = [event["data"]["conversation"]["title"] for event in data["events"]]
    assert titles == ["number 2", "number 3"]
    assert data["next_after"] == data["latest_id"] == data["events"][-1]["id"]


def test_pages_follow_each_other(client):
    for number in range(3):
        make(client, f"number {number}")
    first = client.get("/api/events", {"after": 0, "limit": 2}).json["data"]
    assert first["has_more"] is True
    rest = client.get("/api/events", {"after": first["next_after"]}).json["data"]
    assert rest["has_more"] is False
    ids = [event["id"] for event in first["events"] + rest["events"]]
    assert ids == sorted(set(ids))
    assert len(ids) == 3


def test_a_stream_has_the_same_events(client):
    make(client)
    page = client.get("/api/events", {"after": 0}).json["data"]["events"]
    answer = client.get("/api/events/stream", {"after": 0})
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    streamed = read_stream(answer.text)
    assert [data for _, _, data in streamed] == page
    assert [(number, kind) for number, kind, _ in streamed] == [(e["id"], e["type"]) for e in page]


def test_a_stream_goes_on_behind_the_last_event(client):
    make(client)
    last = client.get("/api/events").json["data"]["latest_id"]
    make(client, "another")
    headers = {"Last-Event-ID": str(last)}
    answer = client.get("/api/events/stream", {"after": 0}, headers=headers)
    assert [number for number, *_ in read_stream(answer.text)] == [last + 1]


def test_a_stream_says_where_it_begins(client):
    make(client)
    answer = client.get("/api/events/stream")
    assert f"id: {client.get('/api/events').json['data']['latest_id']}\n\n" in answer.text
    assert read_stream(answer.text) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "-1"}, "after"), ({"after": "x"}, "after"), ({"types": "nothing"}, "types"),
        ({"types": ""}, "types"), ({"role": "robot"}, "role"), ({"tool": ""}, "tool"),
        ({"wait": "51"}, "wait"), ({"limit": "501"}, "limit"), ({"limit": "0"}, "limit"),
        ({"since": "1"}, "since"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_told_what_is_wrong(client, query, field):
    answer = client.get("/api/events", query, status=400)
    assert answer.json["code"] == "VALIDATION_ERROR"
    assert field in answer.json["details"]["fields"]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30, "²"])
def test_a_wrong_last_event_id_is_refused(client, given):
    headers = {"Last-Event-ID": given.encode().decode("latin-1")}
    answer = client.get("/api/events/stream", headers=headers, status=400)
    assert "Last-Event-ID" in answer.json["details"]["fields"]


def test_a_gap_is_told(client):
    for number in range(3):
        make(client, f"number {number}")
    execute("DELETE FROM events WHERE id < 3")
    data = client.get("/api/events", {"after": 0}).json["data"]
    assert (data["has_gap"], [e["id"] for e in data["events"]]) == (True, [3])
    data = client.get("/api/events", {"after": 999}).json["data"]
    assert (data["has_gap"], data["events"], data["next_after"]) == (True, [], 3)
    old = read_stream(client.get("/api/events/stream", {"after": 0}).text)
    assert [kind for _, kind, _ in old] == ["resync", "conversation_started"]
    assert old[0][2]["reason"] == "expired"
    unknown = read_stream(client.get("/api/events/stream", {"after": 999}).text)
    assert [(kind, data["reason"]) for _, kind, data in unknown] == [("resync", "unknown")]


def test_what_is_hidden_is_not_told(client, add):
    add(1, "hidden words", cwd="/home/ada/secret")
    add(2, "shown words", cwd="/home/ada/engine")
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/home/ada/secret'")
    narrow = sign_in(Scope(hidden=frozenset({key})))
    for text in (
        narrow.get("/api/events", {"after": 0}).text,
        narrow.get("/api/events", {"limit": 500}).text,
        narrow.get("/api/events/stream", {"after": 0}).text,
    ):
        assert "shown words" in text
        assert "/home/ada/secret" not in text
        assert "hidden words" not in text


def test_a_waiting_question_is_answered_in_any_case(client):
    """Nothing happens, so it waits; a second is the shortest that can be asked for."""
    make(client)
    latest = client.get("/api/events").json["data"]["latest_id"]
    data = client.get("/api/events", {"after": latest, "wait": 1}).json["data"]
    assert (data["events"], data["next_after"]) == ([], latest)


def test_a_question_does_not_wait_when_there_is_an_answer(client):
    make(client)
    data = client.get("/api/events", {"after": 0, "wait": 50}).json["data"]
    assert len(data["events"]) == 1


def test_a_ticket_opens_one_stream(client):
    make(client)
    made = client.post("/api/events/tickets", status=201).json["data"]
    stranger = bare(client)
    query = {"ticket": made["ticket"], "after": 0}
    assert "conversation_started" in stranger.get("/api/events/stream", query).text
    again = stranger.get("/api/events/stream", query, status=401)
    assert again.json["code"] == "UNAUTHORIZED"


def test_a_ticket_ends_soon(client):
    ticket = client.post("/api/events/tickets").json["data"]["ticket"]
    execute("UPDATE stream_tickets SET expires_at = '2026-01-01T00:00:00.000Z'")
    stranger = bare(client)
    stranger.get("/api/events/stream", {"ticket": ticket}, status=401)


def test_a_ticket_is_of_no_use_elsewhere(client):
    ticket = client.post("/api/events/tickets").json["data"]["ticket"]
    stranger = bare(client)
    for path in ("/api/events", "/api/conversations", "/api/live/status"):
        assert stranger.get(path, {"ticket": ticket}, status="*").status_int in (400, 401)


def test_a_ticket_shows_no_more_than_who_asked_for_it(client, add):
    add(1, "hidden words", cwd="/home/ada/secret")
    add(2, "shown words", cwd="/home/ada/engine")
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/home/ada/engine'")
    _, text = add_key(["conversations:read"], project_keys=[key])
    stranger = bare(client)
    ticket = stranger.post("/api/events/tickets", headers={"X-API-Key": text}).json["data"]
    streamed = stranger.get("/api/events/stream", {"ticket": ticket["ticket"], "after": 0}).text
    assert "shown words" in streamed
    assert "hidden words" not in streamed


def test_a_websocket_takes_an_upgrade(client):
    answer = client.get("/ws", status=426)
    assert answer.json["code"] == "UPGRADE_REQUIRED"
    assert answer.headers["Sec-WebSocket-Version"] == "13"


def test_the_state_of_streams_is_told(client):
    make(client)
    data = client.get("/api/live/status").json["data"]
    assert data["streams"]["open"] == {"sse": 0, "websocket": 0, "poll": 0}
    assert data["events"]["latest_id"] == 1
    assert data["live_conversations"] == 1


def test_what_is_live_is_counted_of_what_one_may_see(client, add):
    add(1, "hidden words", cwd="/home/ada/secret")
    add(2, "shown words", cwd="/home/ada/engine")
    execute(
        "INSERT OR IGNORE INTO live_conversations"
        " SELECT key, '2026-01-01T00:00:00.000Z' FROM conversations"
    )
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/home/ada/engine'")
    _, text = add_key(["conversations:read"], project_keys=[key])
    limited = bare(client).get("/api/live/status", headers={"X-API-Key": text}).json["data"]
    assert limited["live_conversations"] == 1
    assert client.get("/api/live/status").json["data"]["live_conversations"] == 2


def test_one_stream_too_many_is_refused(db, client):
    app = create_app(cors_origins=(), folders=(), max_streams=0)
    full = type(client)(app, lint=True)
    answer = full.get("/api/events/stream", status=503)
    assert answer.json["code"] == "TOO_MANY_STREAMS"
    assert int(answer.headers["Retry-After"]) > 0
    waiting = full.get("/api/events", {"wait": 5}, status=503)
    assert waiting.json["code"] == "TOO_MANY_STREAMS"


def test_a_guessed_ticket_takes_no_lock(client, db):
    stranger = bare(client)
    other = peewee.sqlite3.connect(database.database)  # type: ignore[attr-defined]
    other.execute("BEGIN IMMEDIATE")
    try:
        stranger.get("/api/events/stream", {"ticket": "guessed"}, status=401)
    finally:
        other.close()
