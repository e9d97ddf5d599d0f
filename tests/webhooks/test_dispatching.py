"""Events come to those who want them: signed, in order, at least once, and never what is gone."""

from __future__ import annotations

import hashlib
import hmac
import threading

import pytest

from observatory import __version__
from observatory.store import webhook_deliveries
from observatory.store.database import execute, fetch_all, writing
from observatory.store.events import expire_events, read_bounds
from observatory.webhooks import dispatching as dispatching_module
from observatory.webhooks import sending
from observatory.webhooks.retrying import CEILINGS_SECONDS, MAX_ATTEMPTS
from tests.processes import wait_for
from tests.webhooks.receivers import Answer

MESSAGES = {"events": ["message_added"]}


def contents(requests) -> list[str]:
    return [request.json["event"]["data"]["message"]["content"] for request in requests]


def test_an_event_comes_signed_and_in_its_envelope(hooks, receiver, dispatching, say):
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        transcript = say("hello")
        [request] = receiver.wait_for(1)
    headers, body = request.headers, request.json
    assert request.path == "/hook?token=t0psecret"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == f"claude-code-observatory/{__version__}"
    assert headers["X-Observatory-Event"] == body["event"]["type"] == "message_added"
    assert headers["X-Observatory-Delivery"] == body["delivery_id"]
    assert body["webhook_id"] == hook["id"]
    assert body["event"]["conversation_id"] == transcript.session_id
    assert body["event"]["data"]["message"]["content"] == "hello"
    moment, _, signature = headers["X-Observatory-Signature"].partition(",")
    assert moment == "t=" + headers["X-Observatory-Timestamp"]
    signed = moment.removeprefix("t=").encode() + b"." + request.body
    wanted = hmac.new(hook["secret"].encode(), signed, hashlib.sha256).hexdigest()
    assert signature == f"v1={wanted}"


def test_what_is_wanted_comes_in_order_and_nothing_else(hooks, receivers, dispatching, say):
    all_messages, engine, one_role, ended = (receivers() for _ in range(4))
    hooks.make(all_messages, **MESSAGES)
    hooks.make(engine, **MESSAGES, filters={"project_path": "/home/ada/engine"})
    assistant = hooks.make(one_role, **MESSAGES, filters={"role": "assistant"})
    hooks.make(ended, events=["conversation_ended"])
    with dispatching():
        say("a", "b")
        say("x", session="2" * 8, cwd="/home/ada/other")
        say("c")
        assert contents(all_messages.wait_for(4)) == ["a", "b", "x", "c"]
        assert contents(engine.wait_for(3)) == ["a", "b", "c"]
        # What was looked at for one was looked at for all.
        assert hooks.deliveries(assistant) == []
    assert one_role.requests == ended.requests == []


def test_a_new_webhook_begins_at_the_present(hooks, receiver, dispatching, say):
    say("before")
    hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("after")
        assert contents(receiver.wait_for(1)) == ["after"]


def test_a_restart_goes_on_where_it_was(hooks, receiver, dispatching, say):
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("one")
        hooks.wait_for(hook, "delivered")
    say("two")
    with dispatching():
        assert contents(receiver.wait_for(2)) == ["one", "two"]
        hooks.wait_for(hook, "delivered", 2)
    with dispatching():
        say("three")
        hooks.wait_for(hook, "delivered", 3)
    assert contents(receiver.requests) == ["one", "two", "three"]


def test_a_limited_webhook_hears_of_its_projects_alone(hooks, receiver, dispatching, say):
    say("mine")
    hook = hooks.make(receiver, **MESSAGES)
    execute("UPDATE webhooks SET is_limited = 1")
    execute("INSERT INTO webhook_projects SELECT 1, key FROM projects")
    with dispatching():
        say("theirs", session="2" * 8, cwd="/home/ada/other")
        say("mine again")
        hooks.wait_for(hook, "delivered")
        assert contents(receiver.requests) == ["mine again"]


# Failures


def test_a_failure_is_tried_again_later_under_the_same_id(hooks, receiver, dispatching, say, clock):
    receiver.answer = lambda *_: 500 if len(receiver.requests) == 1 else 204
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        row = hooks.wait_for_attempts(hook, 1)
        assert (row["status"], row["last_status"], row["last_error"]) == (
            "pending", 500, "http_status",
        )  # fmt: skip
        assert len(receiver.requests) == 1
        clock.advance(20)
        [row] = hooks.wait_for(hook, "delivered")
    first, second = receiver.requests
    assert first.delivery == second.delivery == row["id"]
    assert (row["attempts"], row["last_status"], row["last_error"]) == (2, 204, None)
    stamps = [int(r.headers["X-Observatory-Timestamp"]) for r in (first, second)]
    assert stamps[1] >= stamps[0] + 20
    assert hooks.get(hook)["state"]["last_delivered_at"] is not None


def test_what_never_comes_through_is_dead_and_can_be_sent_again(
    hooks, receiver, dispatching, say, clock
):
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        for number, seconds in enumerate((*CEILINGS_SECONDS, 0), start=1):
            hooks.wait_for_attempts(hook, number)
            clock.advance(seconds)
        [row] = hooks.wait_for(hook, "dead")
        assert row["attempts"] == MAX_ATTEMPTS == len(receiver.requests)
        assert row["next_attempt_at"] is None
        assert hooks.get(hook)["state"]["dead_in_a_row"] == 1
        receiver.answer = lambda *_: 200
        path = f"/api/webhooks/{hook['id']}/deliveries/{row['id']}/redeliver"
        assert hooks.client.post(path, status=202).json["data"]["status"] == "pending"
        hooks.wait_for(hook, "delivered")
    assert {request.delivery for request in receiver.requests} == {row["id"]}
    assert hooks.get(hook)["state"]["dead_in_a_row"] == 0
    metrics = hooks.client.get("/metrics").text.splitlines()
    ended = 'observatory_webhook_deliveries_total{outcome="'
    assert {line.removeprefix(ended) for line in metrics if line.startswith(ended)} == {
        'dead"} 1.0', 'delivered"} 1.0', 'dropped"} 0.0',
    }  # fmt: skip
    assert f"observatory_webhook_failed_attempts_total {float(MAX_ATTEMPTS)}" in metrics


def test_a_receiver_may_ask_for_patience(hooks, receiver, dispatching, say, clock):
    receiver.answer = lambda *_: Answer(503, {"Retry-After": "1800"})
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching(chance=lambda: 0.0):
        say("hello")
        hooks.wait_for_attempts(hook, 1)
        clock.advance(1700)
        # Another event shows that the dispatcher has looked since.
        hooks.wait_for(hook, "pending")
        hooks.test(hook)
        receiver.wait_for(2)
        types = [r.headers["X-Observatory-Event"] for r in receiver.requests]
        assert types == ["message_added", "webhook_test"]
        clock.advance(200)
        receiver.wait_for(3)


def test_a_clock_that_is_set_back_holds_nothing_up(hooks, receiver, dispatching, say, clock):
    receiver.answer = lambda *_: 500 if len(receiver.requests) == 1 else 204
    clock.advance(365 * 86400)
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        hooks.wait_for_attempts(hook, 1)
        clock.advance(-365 * 86400)
        hooks.wait_for(hook, "delivered")


def test_what_waits_since_a_time_to_come_is_sent_at_the_start(
    hooks, receiver, dispatching, say, clock
):
    clock.advance(86400)
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        hooks.wait_for_attempts(hook, 1)
    clock.advance(-86400)
    receiver.answer = lambda *_: 204
    with dispatching():
        hooks.wait_for(hook, "delivered")


def test_gone_switches_a_webhook_off(hooks, receiver, dispatching, say):
    receiver.answer = lambda *_: 410
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        hooks.wait_for(hook, "dead")
        told = hooks.get(hook)
        assert told["is_active"] is False
        assert told["state"]["switched_off"] == "gone"
        assert told["state"]["switched_off_at"] is not None
        say("more")
        receiver.answer = lambda *_: 200
        hooks.client.patch_json(f"/api/webhooks/{hook['id']}", {"is_active": True})
        say("again")
        hooks.wait_for(hook, "delivered")
    assert contents(receiver.requests) == ["hello", "again"]
    assert hooks.get(hook)["state"]["switched_off"] is None


def test_many_that_died_in_a_row_switch_a_webhook_off(
    hooks, receiver, dispatching, say, monkeypatch
):
    monkeypatch.setattr(dispatching_module, "MAX_DEAD_IN_A_ROW", 2)
    monkeypatch.setattr(dispatching_module, "delay_after", lambda *_, **__: None)
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("a", "b", "c")
        hooks.wait_for(hook, "dead", 2)
    told = hooks.get(hook)
    assert (told["is_active"], told["state"]["switched_off"]) == (False, "failing")
    assert len(receiver.requests) == 2
    assert len(hooks.deliveries(hook, "pending")) == 1


def test_one_that_hangs_holds_up_nobody_else(hooks, receivers, dispatching, say, monkeypatch):
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 1000.0)
    hanging = [receivers() for _ in range(3)]
    well = receivers()
    for one in hanging:
        one.answer = one.hang
        hooks.make(one, **MESSAGES)
    hook = hooks.make(well, **MESSAGES)
    with dispatching():
        say("a", "b", "c")
        hooks.wait_for(hook, "delivered", 3)
        assert contents(well.requests) == ["a", "b", "c"]
        assert all(len(one.requests) <= 1 for one in hanging)
    # It stopped though three still hang, and what was under way is still to do.
    assert fetch_all(
        "SELECT count(*) FROM webhook_deliveries WHERE status = 'pending' AND attempts = 0"
    ) == [(9,)]


def test_who_fails_does_not_get_the_last_sender(hooks, receivers, dispatching, say, clock):
    failing = [receivers() for _ in range(5)]
    made = []
    for one in failing:
        one.answer = lambda *_: 500
        made.append(hooks.make(one, **MESSAGES))
    well = receivers()
    hook = hooks.make(well, **MESSAGES)
    with dispatching():
        say("a")
        for one in made:
            hooks.wait_for_attempts(one, 1)
        for one in failing:
            one.answer = one.hang
        clock.advance(30)
        wait_for(lambda: sum(len(o.requests) for o in failing) == 8, what="three that hang")
        say("b")
        hooks.wait_for(hook, "delivered", 2)
        assert sum(len(one.requests) for one in failing) == 8


# What is gone


def test_what_was_removed_before_it_is_sent_is_dropped(hooks, receiver, dispatching, say, clock):
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        kept = say("kept", session="2" * 8)
        hooks.wait_for_attempts(hook, 1)
    gone = say("secret words")
    with dispatching():
        wait_for(lambda: len(hooks.deliveries(hook)) == 2, what="the second delivery")
        wait_for(lambda: len(receiver.requests) == 2, what="its first attempt")
    receiver.requests.clear()
    hooks.client.delete(f"/api/conversations/{gone.session_id}?permanent=true")
    receiver.answer = lambda *_: 200
    clock.advance(1000)
    with dispatching():
        [dropped] = hooks.wait_for(hook, "dropped")
        hooks.wait_for(hook, "delivered")
    assert dropped["last_error"] == "gone"
    assert contents(receiver.requests) == ["kept"]
    assert kept.session_id != gone.session_id
    assert all(b"secret words" not in request.body for request in receiver.requests)


def test_what_is_out_of_sight_by_now_is_not_sent(hooks, receiver, dispatching, say, clock):
    """A limited webhook does not hear of what was moved out of its projects meanwhile."""
    receiver.answer = lambda *_: 500
    say("before")
    hook = hooks.make(receiver, **MESSAGES)
    execute("UPDATE webhooks SET is_limited = 1")
    execute("INSERT INTO webhook_projects SELECT 1, key FROM projects")
    with dispatching():
        say("hello")
        hooks.wait_for_attempts(hook, 1)
        execute("INSERT INTO projects (path, name) VALUES ('/elsewhere', 'elsewhere')")
        execute("UPDATE conversations SET project_key = (SELECT max(key) FROM projects)")
        clock.advance(30)
        [row] = hooks.wait_for(hook, "dropped")
    assert row["last_error"] == "gone"
    assert len(receiver.requests) == 1


def test_what_is_in_the_trash_is_not_sent(hooks, receiver, dispatching, say):
    hook = hooks.make(receiver, **MESSAGES)
    transcript = say("hello")
    hooks.client.delete(f"/api/conversations/{transcript.session_id}")
    say("other", session="2" * 8)
    with dispatching():
        hooks.wait_for(hook, "delivered")
    assert contents(receiver.requests) == ["other"]


def test_what_expired_before_it_was_sent_is_dropped(hooks, receiver, dispatching, say, clock):
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        hooks.wait_for_attempts(hook, 1)
        with writing(moves=None):
            expire_events(before="2999-01-01T00:00:00.000Z", keep=0)
        clock.advance(30)
        [row] = hooks.wait_for(hook, "dropped")
    assert row["last_error"] == "event_expired"


def test_events_that_expired_before_they_were_looked_at_are_told_of(
    hooks, receiver, dispatching, say
):
    hook = hooks.make(receiver, **MESSAGES)
    say("lost")
    with writing(moves=None):
        expire_events(before="2999-01-01T00:00:00.000Z", keep=0)
    say("kept")
    with dispatching():
        hooks.wait_for(hook, "delivered")
    assert contents(receiver.requests) == ["kept"]
    assert hooks.get(hook)["state"]["missed_events_at"] is not None
    assert fetch_all("SELECT position FROM webhooks") == [(read_bounds().latest,)]


def test_the_oldest_of_too_many_are_given_up(hooks, receiver, dispatching, say, monkeypatch):
    monkeypatch.setattr(webhook_deliveries, "MAX_PENDING", 2)
    hook = hooks.make(receiver, **MESSAGES)
    say("a", "b", "c", "d")
    with dispatching():
        dead = hooks.wait_for(hook, "dead", 2)
        hooks.wait_for(hook, "delivered", 2)
    assert {row["last_error"] for row in dead} == {"too_many_waiting"}
    assert contents(receiver.requests) == ["c", "d"]


# Tests, pauses, rest


def test_the_test_button_sends_at_once_before_what_waits(hooks, receiver, dispatching, say):
    hook = hooks.make(receiver, **MESSAGES)
    say("a", "b")
    identifier = hooks.test(hook)
    with dispatching():
        hooks.wait_for(hook, "delivered", 1)
        receiver.wait_for(3)
    request = next(r for r in receiver.requests if r.delivery == identifier)
    assert request.json["event"]["type"] == "webhook_test"
    assert request.json["event"]["id"] is None


def test_what_waits_is_sent_when_a_webhook_is_switched_on_again(
    hooks, receiver, dispatching, say, clock
):
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    path = f"/api/webhooks/{hook['id']}"
    with dispatching():
        say("a")
        hooks.wait_for_attempts(hook, 1)
        hooks.client.patch_json(path, {"is_active": False})
        say("missed")
        receiver.answer = lambda *_: 200
        clock.advance(60)
        hooks.client.patch_json(path, {"is_active": True})
        hooks.wait_for(hook, "delivered")
    assert contents(receiver.requests) == ["a", "a"]


def test_another_secret_signs_from_then_on(hooks, receiver, dispatching):
    hook = hooks.make(receiver)
    path = f"/api/webhooks/{hook['id']}"
    secret = hooks.client.patch_json(path, {"rotate_secret": True}).json["data"]["secret"]
    assert secret != hook["secret"]
    with dispatching():
        hooks.test(hook)
        [request] = receiver.wait_for(1)
    moment, _, signature = request.headers["X-Observatory-Signature"].partition(",")
    signed = moment.removeprefix("t=").encode() + b"." + request.body
    assert signature == "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def test_a_deleted_webhook_takes_its_deliveries_along(hooks, receiver, dispatching, say):
    receiver.answer = lambda *_: 500
    hook = hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("a")
        hooks.wait_for_attempts(hook, 1)
        hooks.client.delete(f"/api/webhooks/{hook['id']}")
        say("b")
        other = hooks.make(receiver, **MESSAGES)
        say("c")
        wait_for(lambda: hooks.deliveries(other), what="a delivery of the other")
    assert fetch_all("SELECT DISTINCT webhook_key FROM webhook_deliveries") == [(other["id"],)]


def test_old_deliveries_are_deleted_and_overdue_ones_given_up(
    hooks, receiver, dispatching, say, clock
):
    hook = hooks.make(receiver, **MESSAGES)
    say("a", "b")
    with dispatching():
        hooks.wait_for(hook, "delivered", 2)
        hooks.client.patch_json(f"/api/webhooks/{hook['id']}", {"is_active": False})
    execute(
        "INSERT INTO webhook_deliveries (id, webhook_key, event_type, status, created_at,"
        " next_attempt_at) VALUES ('x', 1, 'webhook_test', 'pending', ?1, ?1)",
        ("2026-01-01T00:00:00.000Z",),
    )
    clock.advance(3 * 86400 + 3600)
    with dispatching():
        [row] = hooks.wait_for(hook, "dead")
        wait_for(lambda: not hooks.deliveries(hook, "delivered"), what="old ones to go")
    assert row["last_error"] == "waited_too_long"
    clock.advance(31 * 86400)
    with dispatching():
        wait_for(lambda: not hooks.deliveries(hook), what="dead ones to go")


def test_of_those_that_are_over_the_latest_are_kept(
    hooks, receiver, dispatching, say, clock, monkeypatch
):
    monkeypatch.setattr(webhook_deliveries, "MAX_DONE", 2)
    monkeypatch.setattr(webhook_deliveries, "_AT_ONCE", 1)
    hook = hooks.make(receiver, **MESSAGES)
    say("a", "b", "c", "d", "e")
    with dispatching():
        hooks.wait_for(hook, "delivered", 5)
        latest = [row["id"] for row in hooks.deliveries(hook)[-2:]]
        clock.advance(3600)
        wait_for(lambda: len(hooks.deliveries(hook)) == 2, what="the others to go")
    assert [row["id"] for row in hooks.deliveries(hook)] == latest


def test_a_name_that_is_not_found_out_does_not_hold_up_the_end(hooks, dispatching, monkeypatch):
    monkeypatch.setattr(sending, "CONNECT_SECONDS", 1000.0)
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 1000.0)
    asked, released = threading.Event(), threading.Event()

    def resolver(*_: object) -> list[str]:
        asked.set()
        released.wait()
        return []

    hook = hooks.make("http://hook.example/")
    hooks.test(hook)
    with dispatching(resolver=resolver):
        wait_for(asked.is_set, what="the name to be asked for")
    [row] = hooks.deliveries(hook)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    released.set()


def test_what_came_through_and_could_not_be_written_is_sent_again(
    hooks, receiver, dispatching, monkeypatch
):
    """At least once, and with a pause: else a full disk would flood the receivers."""
    known, calls = webhook_deliveries.note_attempt, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise dispatching_module.DatabaseError("disk I/O error")
        return known(*arguments, **options)

    monkeypatch.setattr(webhook_deliveries, "note_attempt", failing)
    monkeypatch.setattr(dispatching_module, "_AFTER_UNWRITTEN_SECONDS", 0.01)
    hook = hooks.make(receiver)
    identifier = hooks.test(hook)
    with dispatching():
        hooks.wait_for(hook, "delivered")
    assert [request.delivery for request in receiver.requests] == [identifier] * 2


def test_a_bug_in_sending_is_tried_again_later(hooks, receiver, dispatching, monkeypatch, clock):
    known, calls = dispatching_module.sign, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("bug")
        return known(*arguments, **options)

    monkeypatch.setattr(dispatching_module, "sign", failing)
    hook = hooks.make(receiver)
    hooks.test(hook)
    with dispatching():
        assert hooks.wait_for_attempts(hook, 1)["last_error"] == "internal_error"
        clock.advance(30)
        hooks.wait_for(hook, "delivered")


def test_many_webhooks_and_events_leave_nothing_out(
    hooks, receivers, dispatching, say, monkeypatch
):
    monkeypatch.setattr(dispatching_module, "_LEAST_BATCH", 3)
    monkeypatch.setattr(dispatching_module, "_MOST_ROWS", 1)
    made = [(one, hooks.make(one, **MESSAGES)) for one in (receivers() for _ in range(6))]
    texts = [f"message {number}" for number in range(20)]
    with dispatching():
        say(*texts[:10])
        say(*texts[10:])
        for one, hook in made:
            hooks.wait_for(hook, "delivered", 20)
            assert contents(one.requests) == texts


def test_without_webhooks_nothing_is_written(db, dispatching, say):
    before = fetch_all("PRAGMA data_version")
    with dispatching(poll_seconds=0.001):
        say("a")
        assert threading.active_count() > 1
    assert fetch_all("PRAGMA data_version") == before


def test_urls_and_secrets_are_not_logged(hooks, receiver, dispatching, capfd, say):
    receiver.answer = lambda *_: 410
    hook = hooks.make(receiver, secret="correct horse battery staple")
    with dispatching():
        hooks.test(hook)
        hooks.wait_for(hook, "dead")
    held = str(fetch_all("SELECT * FROM audit_log")) + capfd.readouterr().err
    assert "t0psecret" not in held and "correct horse" not in held
    assert f"http://127.0.0.1:{receiver.port}" in held


@pytest.mark.parametrize("problem", ["database", "bug"])
def test_a_failure_of_ours_ends_nothing(hooks, receiver, dispatching, say, monkeypatch, problem):
    """What goes wrong while looking for events is tried again."""
    known, calls = dispatching_module.read_events, []

    def broken(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            if problem == "bug":
                raise ValueError(problem)
            raise dispatching_module.DatabaseError(problem)
        return known(*arguments, **options)

    monkeypatch.setattr(dispatching_module, "read_events", broken)
    monkeypatch.setattr(dispatching_module, "_AFTER_FAILURE_SECONDS", 0.01)
    hooks.make(receiver, **MESSAGES)
    with dispatching():
        say("hello")
        assert contents(receiver.wait_for(1)) == ["hello"]
    assert len(calls) > 1


def test_a_failure_that_lasts_is_told_of_less_and_less_often(db, monkeypatch, capfd):
    """As on a full disk, for hours."""

    def fail() -> None:
        raise dispatching_module.DatabaseError("database or disk is full")

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            if len(waited) == 2000:
                self.set()
            return self.is_set()

    waited: list[float | None] = []
    monkeypatch.setattr(dispatching_module, "connect", fail)
    dispatching_module.run_dispatcher(Stop(), poll_seconds=0)
    assert waited[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert waited[-1] == 30
