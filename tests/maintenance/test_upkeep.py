"""The chores that keep the database in order, over real files and with a clock of our own."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import peewee
import pytest

from observatory.maintenance import upkeep
from observatory.store import audit, maintenance, search
from observatory.store.database import (
    close,
    connect,
    database,
    execute,
    fetch_all,
    file_sizes,
    writing,
)
from observatory.store.maintenance import list_runs, record_run
from observatory.store.scopes import WHOLE
from observatory.store.webhooks import insert_webhook
from observatory.timestamps import format_timestamp
from tests.ingest.dumps import check_sound
from tests.transcripts_for_tests import Transcript

DAY = 86400.0
NOW = datetime.now(UTC).timestamp()


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        # What is kept with the real time is never later.
        self.moment = time.time() + 60

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


def never() -> bool:
    return False


def at(days: float) -> str:
    return format_timestamp(datetime.fromtimestamp(NOW, UTC) + timedelta(days=days))


def grow(size: int) -> None:
    """Write so many bytes, of which nothing stays."""
    with writing():
        execute("INSERT INTO summaries (leaf_id, summary) VALUES ('x', ?)", ("x" * size,))
    with writing():
        execute("DELETE FROM summaries")


# The log


def test_a_checkpoint_takes_the_log_into_the_file(db):
    grow(300_000)
    chore = upkeep.Checkpoints()
    outcome = chore()
    assert outcome is not None and outcome.is_good
    moved = int(outcome.result.split()[0])
    assert outcome.result == f"{moved} of {moved} pages are in the file"


def test_a_checkpoint_of_little_tells_nothing_and_so_writes_nothing(db):
    grow(300_000)
    chore = upkeep.Checkpoints()
    assert chore() is not None
    record_run("checkpoint", duration_ms=1, result="x", is_good=True, next_seconds=1)
    assert chore() is None


def test_a_large_log_is_cut(db):
    grow(300_000)
    outcome = upkeep.Checkpoints(truncate_bytes=100_000)()
    assert outcome.result == "cut the log to nothing"
    assert file_sizes()[1] == 0


def test_a_log_that_somebody_reads_is_left_and_nobody_waits(db):
    grow(1000)
    reader = peewee.sqlite3.connect(str(db))
    rows = reader.execute("SELECT * FROM totals")
    rows.fetchone()
    grow(300_000)
    outcome = upkeep.Checkpoints(truncate_bytes=100_000)()
    assert not outcome.is_good
    assert "a reader needs it" in outcome.result
    rows.close()
    reader.close()
    assert upkeep.Checkpoints(truncate_bytes=100_000)().result == "cut the log to nothing"


def test_a_patience_within_another_one_is_given_back(db):
    from observatory.store.database import waiting_at_most

    with waiting_at_most(1000):
        with waiting_at_most(20):
            pass
        assert fetch_all("PRAGMA busy_timeout") == [(1000,)]
    assert fetch_all("PRAGMA busy_timeout") == [(10_000,)]


# Statistics


def finish(chore, should_give_way=never):
    """Run a chore until it has done its round, and return what it told."""
    for _ in range(10_000):
        outcome = chore(should_give_way)
        if outcome is None or outcome.result is not None:
            return outcome
    raise AssertionError("it does not end")


def keep(name: str, outcome) -> None:
    record_run(name, duration_ms=1, result=outcome.result, is_good=outcome.is_good, next_seconds=1)


@pytest.fixture
def archive(write, ingest) -> Transcript:
    """A conversation of a few messages."""
    transcript = Transcript()
    for number in range(20):
        transcript.prompt(f"word{number} hello")
    write(transcript)
    ingest()
    return transcript


def test_sqlite_gets_to_know_its_tables_without_keeping_samples(archive, clock):
    outcome = finish(upkeep.Statistics(clock=clock))
    assert outcome.result.startswith("looked at ")
    tables = {row[0] for row in fetch_all("SELECT tbl FROM sqlite_stat1")}
    assert {"messages", "conversations", "projects"} <= tables
    if fetch_all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat4'"):
        assert fetch_all("SELECT count(*) FROM sqlite_stat4") == [(0,)]
    check_sound()


def test_it_looks_again_after_hours_and_after_much_was_read(archive, clock, monkeypatch):
    chore = upkeep.Statistics(clock=clock)
    keep("statistics", finish(chore))
    assert chore(never) is None
    clock.moment += 6 * 3600 + 1
    assert finish(chore) is not None
    clock.moment -= 6 * 3600
    assert chore(never) is None
    monkeypatch.setattr(upkeep, "_MANY_MESSAGES", 10)
    execute("UPDATE totals SET value = value + 10 WHERE name = 'indexed_message_key'")
    assert finish(chore) is not None


def test_it_does_not_look_while_lines_wait(archive, clock):
    assert upkeep.Statistics(clock=clock)(lambda: True) is None
    assert not fetch_all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")


# Search


def make_segments(write, ingest, number: int) -> None:
    for part in range(number):
        transcript = Transcript(f"{part:08d}-1111-4111-8111-111111111111", prefix=f"{part:x}")
        transcript.prompt(f"hello part{part}")
        write(transcript)
        ingest()


def test_pieces_of_the_index_are_counted_as_they_are(write, ingest):
    assert search.count_segments() == 0
    execute("INSERT INTO message_search (message_search, rank) VALUES ('automerge', 0)")
    make_segments(write, ingest, 5)
    segments = {row[0] for row in fetch_all("SELECT DISTINCT segid FROM message_search_idx")}
    assert search.count_segments() == len(segments) == 5


def test_many_pieces_of_the_index_become_few(write, ingest):
    execute("INSERT INTO message_search (message_search, rank) VALUES ('automerge', 0)")
    make_segments(write, ingest, 9)
    chore = upkeep.SearchMerges(many_segments=8)
    assert chore(lambda: True).result is None
    assert search.count_segments() == 9
    outcome = finish(chore)
    assert outcome.result == f"9 segments are {search.count_segments()}"
    assert search.count_segments() < 4
    assert chore(never) is None
    found = fetch_all("SELECT count(*) FROM message_search WHERE message_search MATCH 'hello'")
    assert found == [(9,)]
    check_sound()


def test_what_can_not_be_merged_is_not_tried_again(write, ingest):
    make_segments(write, ingest, 3)
    chore = upkeep.SearchMerges(many_segments=2)
    assert finish(chore) is not None
    assert chore(never) is None


# What ends by itself


def plant_expired() -> None:
    for age in (-1.5, -0.5):
        execute(
            "INSERT INTO idempotency_keys (id, path, body_hash, status, data, created_at)"
            " VALUES (?, 'POST /x', x'00', 200, '{}', ?)",
            (str(age), at(age)),
        )
    for number, ends in enumerate((-1, 1)):
        execute(
            "INSERT INTO sessions (kind, selector, secret_hash, created_at, expires_at)"
            " VALUES ('cookie', ?, x'00', ?, ?)",
            (str(number), at(-3), at(ends)),
        )
        execute(
            "INSERT INTO one_time_tokens (hash, purpose, expires_at) VALUES (?, 'link', ?)",
            (str(number).encode(), at(ends)),
        )
        execute(
            "INSERT INTO stream_tickets (hash, api_key_key, expires_at) VALUES (?, 1, ?)",
            (str(number).encode(), at(ends)),
        )
    hook = insert_webhook(
        url="https://example.org/", description="", events=(), filters={}, secret="s" * 16,
        is_active=True, scope=WHOLE,
    )  # fmt: skip
    for status, age in (("delivered", -4), ("delivered", -2), ("dead", -4), ("dead", -31)):
        execute(
            "INSERT INTO webhook_deliveries (id, webhook_key, event_id, event_type, status,"
            " created_at, finished_at) VALUES (?, ?, 1, 'x', ?, ?, ?)",
            (f"{status}{age}", hook.key, status, at(age), at(age)),
        )


def count(table: str) -> int:
    return fetch_all(f"SELECT count(*) FROM {table}")[0][0]


def test_what_is_over_goes_and_what_is_not_stays(db, clock):
    plant_expired()
    outcome = upkeep.Expiry(clock=clock)()
    assert outcome.result == ("deleted 1 answers, 1 sign-ins, 1 tickets, 1 tokens, 2 deliveries")
    for table, left in (
        ("idempotency_keys", 1), ("sessions", 1), ("one_time_tokens", 1), ("stream_tickets", 1),
        ("webhook_deliveries", 2),
    ):  # fmt: skip
        assert count(table) == left, table
    assert upkeep.Expiry(clock=clock)() is None


def test_the_audit_log_is_kept_for_ever_unless_told(db, clock):
    for age in (-400, -20, 0):
        audit.note(audit.OPERATOR, "link.used")
        execute("UPDATE audit_log SET created_at = ? WHERE key = last_insert_rowid()", (at(age),))
    assert upkeep.Expiry(clock=clock)() is None
    assert count("audit_log") == 3
    assert upkeep.Expiry(clock=clock, audit_log_days=30)().result == "deleted 1 audit lines"
    assert count("audit_log") == 2


def test_much_is_deleted_in_steps(db, clock, monkeypatch):
    monkeypatch.setattr(upkeep, "_ROWS_AT_ONCE", 2)
    for number in range(5):
        audit.note(audit.OPERATOR, "link.used", number=number)
    clock.moment += 2 * DAY
    chore = upkeep.Expiry(clock=clock, audit_log_days=1)
    steps = [chore() for _ in range(4)]
    assert [step and step.result for step in steps] == [
        "deleted 2 audit lines", "deleted 2 audit lines", "deleted 1 audit lines", None,
    ]  # fmt: skip
    assert [step.again_seconds is None for step in steps[:3]] == [False, False, True]


# The daily check


def test_the_file_is_checked_once_a_day_when_nothing_happens(archive, clock):
    chore = upkeep.DailyCheck(clock=clock)
    assert chore(never) is None
    clock.moment += 601
    outcome = chore(never)
    assert outcome.is_good
    assert outcome.result.endswith(" tables are sound")
    keep("quick_check", outcome)
    assert chore(never) is None
    clock.moment += DAY + 60
    assert chore(never) is not None


def test_a_change_puts_the_check_off(archive, clock):
    chore = upkeep.DailyCheck(clock=clock)
    chore(never)
    clock.moment += 599
    with writing():
        pass
    clock.moment += 2
    assert chore(never) is None
    clock.moment += 601
    assert chore(never) is not None


def test_lines_that_come_end_the_check_and_it_goes_on_later(archive, clock):
    chore = upkeep.DailyCheck(clock=clock, calm_seconds=0)
    execute("CREATE TABLE many (x)")
    execute(
        "INSERT INTO many WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT"
        " 300000) SELECT x FROM n"
    )
    execute("CREATE INDEX many_x ON many (x)")
    asked: list[int] = []

    def soon() -> bool:
        asked.append(1)
        return len(asked) > 1

    assert chore(soon) is None
    assert len(asked) > 1
    assert chore(never).result.endswith(" tables are sound")


def test_damage_is_told(archive, clock, db):
    connection = database.connection()
    [(page,)] = fetch_all("SELECT rootpage FROM sqlite_master WHERE name = 'messages_in_order'")
    [(size,)] = fetch_all("PRAGMA page_size")
    maintenance.checkpoint(truncate_bytes=0, patience_ms=10)
    close()
    with db.open("r+b") as stream:
        stream.seek((page - 1) * size + 3)
        stream.write(b"\x00\x00")
    connect()
    assert connection is not database.connection()
    outcome = upkeep.DailyCheck(clock=clock, calm_seconds=0)(never)
    assert not outcome.is_good
    assert outcome.result.startswith("damaged, ")


def test_a_run_is_kept_with_when_the_next_one_is(db):
    record_run("x", duration_ms=5, result="fine", is_good=True, next_seconds=60)
    record_run("x", duration_ms=6, result="not so", is_good=False, next_seconds=60)
    [run] = list_runs()
    assert (run.name, run.duration_ms, run.result, run.is_good) == ("x", 6, "not so", False)
    assert run.next_at > run.last_run_at
    assert maintenance.list_failed() == ["x"]
