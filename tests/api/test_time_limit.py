"""Requests that take too long: ended, answered, and nothing of them kept."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import peewee
import pytest
import webtest

from observatory.api import conversations, exports, uploads
from observatory.app import create_app
from observatory.store import time_limits
from observatory.store.database import database, execute, fetch_all, fetch_one
from observatory.store.scopes import Scope
from observatory.store.time_limits import begin_time_limit, end_time_limit
from tests.api.asking import check_refusal
from tests.api.described import DescribedApp
from tests.api.sessions import SESSION
from tests.transcripts_for_tests import Transcript

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


# With a key, all that a request does is one transaction.
KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture
def hurried(db) -> webtest.TestApp:
    """A client of an application whose requests may take a quarter of a second."""
    return DescribedApp(create_app(cors_origins=(), folders=(), request_timeout_ms=250), lint=True)


def endless_read(**_: Any) -> None:
    fetch_one(ENDLESS)


def endless_model(**_: Any) -> None:
    database.execute_sql(ENDLESS).fetchone()


def endless_row(**_: Any) -> None:
    while True:
        fetch_all("SELECT 1")


@pytest.mark.parametrize("work", [endless_read, endless_model, endless_row])
def test_a_read_that_takes_too_long_is_ended(hurried, monkeypatch, work):
    monkeypatch.setattr(conversations, "list_conversations", work)
    answer = hurried.get("/api/conversations", expect_errors=True)
    check_refusal(answer, 503, "REQUEST_TIMEOUT")
    assert answer.headers["Retry-After"] == "10"
    # The connection is as good as before.
    monkeypatch.undo()
    calm = DescribedApp(create_app(cors_origins=(), folders=()), lint=True)
    calm.get("/api/conversations", status=200)


def test_a_write_that_takes_too_long_is_taken_back(hurried, monkeypatch):
    insert = conversations.insert_conversation
    begun = []

    def slow(*arguments: Any, **named: Any) -> Any:
        insert(*arguments, **named)
        begun.append(fetch_one("SELECT count(*) FROM conversations"))
        # SQLite itself takes all back when it ends a change.
        execute(f"UPDATE totals SET value = ({ENDLESS})")

    monkeypatch.setattr(conversations, "insert_conversation", slow)
    answer = hurried.post_json(
        "/api/conversations", {"title": "x"}, headers=KEY, expect_errors=True
    )
    check_refusal(answer, 503, "REQUEST_TIMEOUT")
    assert begun == [(1,)]
    assert fetch_one("SELECT count(*) FROM conversations") == (0,)
    assert not database.in_transaction()


@pytest.fixture
def late(monkeypatch) -> Any:
    """Makes a minute pass, and then works for long enough to be asked whether to go on."""
    passed = [0.0]
    monkeypatch.setattr(time_limits, "perf_counter", lambda: perf_counter() + passed[0])

    def work() -> Any:
        passed[0] += 60
        steps = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)"
        return fetch_one(f"{steps} SELECT max(i) FROM n")

    return work


@pytest.fixture
def timed(db) -> webtest.TestApp:
    """A client of an application whose requests may take 30 s."""
    app = create_app(cors_origins=(), folders=(), request_timeout_ms=30_000)
    return DescribedApp(app, lint=True)


def test_what_was_kept_is_told_even_when_time_is_over(timed, monkeypatch, late):
    plain = conversations.get_conversation
    monkeypatch.setattr(
        conversations, "get_conversation", lambda each, scope: late() and plain(each, scope=scope)
    )
    timed.post_json("/api/conversations", {"title": "x"}, status=201)


def test_what_is_read_when_time_is_over_is_not_told(timed, session, monkeypatch, late):
    plain = conversations.get_conversation
    monkeypatch.setattr(
        conversations, "get_conversation", lambda each, scope: late() and plain(each, scope=scope)
    )
    timed.get(f"/api/conversations/{SESSION}", status=503)


def test_what_is_sent_as_a_stream_is_not_ended(timed, session, monkeypatch, late):
    plain = exports.read_messages

    def slow(identifier: str, *, scope: Scope) -> Any:
        late()
        yield from plain(identifier, scope=scope)

    monkeypatch.setattr(exports, "read_messages", slow)
    answer = timed.get(f"/api/conversations/{SESSION}/export")
    assert answer.body.count(b"\n") > 5


def test_an_upload_is_not_ended(timed, monkeypatch, late):
    plain = uploads._read
    monkeypatch.setattr(uploads, "_read", lambda path: late() and plain(path))
    headers = {"Content-Type": "application/x-ndjson"}
    transcript = Transcript()
    transcript.prompt("hello")
    timed.post("/api/files/upload", transcript.bytes(), headers=headers, status=201)


def test_after_a_request_its_thread_has_time_again(hurried, monkeypatch, late):
    monkeypatch.setattr(conversations, "list_conversations", endless_read)
    hurried.get("/api/conversations", status=503)
    assert late() == (100_000,)


def test_a_limit_holds_on_a_new_connection_of_the_thread(db):
    for _ in range(2):
        begin_time_limit(database.connection(), 0.0)
        with pytest.raises(peewee.OperationalError, match="interrupted"):
            database.execute_sql(ENDLESS).fetchone()
        end_time_limit()
        database.close()
        database.connect()
