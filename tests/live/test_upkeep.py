"""What the watcher does for events now and then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from observatory.live import upkeep
from observatory.metrics import CHECKPOINTS
from observatory.store import event_notes
from observatory.store.database import database, execute, fetch_all
from observatory.timestamps import format_timestamp
from tests.transcripts_for_tests import Transcript


def types() -> list[str]:
    return [row[0] for row in fetch_all("SELECT type FROM events ORDER BY id")]


def in_minutes(minutes: float) -> str:
    return format_timestamp(datetime.now(UTC) + timedelta(minutes=minutes))


def read_live(write, ingest, *, active_at: str) -> None:
    """Read a conversation in which something was said last at a time."""
    said = Transcript()
    said.prompt("look around", timestamp=in_minutes(0))
    write(said)
    ingest()
    execute("UPDATE live_conversations SET active_at = ?", (active_at,))


def test_a_conversation_ends_once(write, ingest):
    read_live(write, ingest, active_at=in_minutes(-11))
    before = types()
    for _ in range(2):
        upkeep.end_quiet_conversations()
    assert types() == [*before, "conversation_ended"]


def test_a_clock_that_is_set_back_does_not_keep_a_conversation_going(write, ingest):
    read_live(write, ingest, active_at=in_minutes(24 * 60))
    upkeep.end_quiet_conversations()
    assert "conversation_ended" not in types()
    assert event_notes.find_quiet_conversations(datetime.now(UTC) + event_notes.LIVE_FOR) != []


def test_logs_that_were_begun_anew_are_counted(db):
    def count() -> float:
        return next(iter(next(iter(CHECKPOINTS.collect())).samples)).value

    def begin_anew() -> None:
        database.connection().execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        execute("UPDATE totals SET value = value + 1 WHERE name = 'revision'")

    chore, before = upkeep.CheckpointCount(), count()
    execute("UPDATE totals SET value = value + 1 WHERE name = 'revision'")
    chore()
    chore()
    assert count() == before
    for _ in range(3):
        begin_anew()
    chore()
    assert count() == before + 3
    # Without a log there is nothing to count, and nothing is lost.
    database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    chore()
    assert count() == before + 3


def test_new_numbers_are_noted_once(write, ingest):
    note = upkeep.AnalyticsNotes()
    note()
    assert types() == []
    read_live(write, ingest, active_at=in_minutes(0))
    for _ in range(2):
        note()
    assert types().count("analytics_update") == 1
    upkeep.AnalyticsNotes()()
    assert types().count("analytics_update") == 1


def test_numbers_that_could_not_be_noted_are_noted_later(write, ingest):
    note = upkeep.AnalyticsNotes()
    note()
    read_live(write, ingest, active_at=in_minutes(0))
    # As on a full disk: the transaction fails when it is to end.
    execute("CREATE TABLE strict_ones (key REFERENCES events (id) DEFERRABLE INITIALLY DEFERRED)")
    execute(
        "CREATE TRIGGER refuse AFTER INSERT ON events"
        " BEGIN INSERT INTO strict_ones VALUES (-1); END"
    )
    with pytest.raises(Exception, match="FOREIGN KEY"):
        note()
    execute("DROP TRIGGER refuse")
    note()
    assert types().count("analytics_update") == 1


def test_old_events_go_and_new_ones_stay(write, ingest):
    read_live(write, ingest, active_at=in_minutes(0))
    last = fetch_all("SELECT max(id) FROM events")
    execute("UPDATE events SET created_at = ? WHERE id <= 2", (in_minutes(-60 * 24 * 8),))
    upkeep.let_go_of_old_events()
    assert fetch_all("SELECT min(id), max(id) FROM events") == [(3, last[0][0])]
    execute("UPDATE events SET created_at = ?", (in_minutes(-60 * 24 * 8),))
    upkeep.let_go_of_old_events()
    assert types() == []
    upkeep.let_go_of_old_events()
