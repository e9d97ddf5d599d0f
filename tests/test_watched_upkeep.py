"""A real watcher that keeps its database in order while it reads."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from tests.processes import Home, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, are_found, rows, session_path, wait_for_texts, watching

OLD = "11111111-1111-4111-8111-111111111111"
LIVE = "22222222-2222-4222-8222-222222222222"


def runs(home: Home) -> dict[str, str]:
    return dict(rows(home, "SELECT name, result FROM maintenance WHERE is_good"))


def in_the_trash(home: Home) -> list[str]:
    found = rows(home, "SELECT id FROM conversations WHERE deleted_at IS NOT NULL")
    return [name for (name,) in found]


def test_old_conversations_go_while_live_ones_are_read(tmp_path):
    home = Home(tmp_path, {"RETENTION_DAYS": "30", "DB_WAL_CHECKPOINT_INTERVAL": "100"})
    old = Transcript(OLD)
    old.prompt("long ago", timestamp="2020-01-02T03:04:05.678Z")
    path = session_path(home, old)
    path.write_bytes(old.bytes())
    os.utime(path, (1_577_934_245, 1_577_934_245))
    live = Transcript(LIVE, prefix="b")
    with watching(home) as watcher:
        for number in range(3):
            live.prompt(f"now{number}", timestamp=datetime.now(UTC).isoformat())
            append(session_path(home, live), live.bytes()[len(live.bytes(number)) :])
        wait_for_texts(home, "now0", "now1", "now2", session=LIVE)
        wait_for(lambda: in_the_trash(home) == [OLD], what="the old one to go to the trash")
        wait_for(lambda: "retention" in runs(home), what="that to be told")
        wait_for(lambda: "checkpoint" in runs(home), what="a checkpoint")
        wait_for(lambda: are_found(home, "now2") == 1, what="the index")
        assert runs(home)["retention"] == "1 conversations to the trash, 0 removed"
        assert watcher.end() == 0
    # It is not taken up again by being read again.
    with watching(home):
        assert in_the_trash(home) == [OLD]


def test_a_removal_that_was_killed_is_ended_by_the_next_watcher(tmp_path):
    home = Home(tmp_path, {"RETENTION_DAYS": "30", "TRASH_DAYS": "1"})
    old = Transcript(OLD)
    for number in range(4000):
        old.prompt(f"word{number} " * 100, timestamp="2020-01-02T03:04:05.678Z")
    path = session_path(home, old)
    path.write_bytes(old.bytes())
    os.utime(path, (1_577_934_245, 1_577_934_245))
    assert home.run("ingest").returncode == 0
    rows(home, "UPDATE conversations SET deleted_at = '2020-02-02T00:00:00.000Z'")
    with watching(home) as watcher:
        wait_for(lambda: left(home) < 4000, what="the removal to begin")
        watcher.process.kill()
    with watching(home):
        wait_for(lambda: left(home) == 0, what="the removal to end")
        wait_for(lambda: not rows(home, "SELECT 1 FROM conversations"), what="its end")
    assert rows(home, "SELECT actor FROM audit_log") == [("retention",)]
    assert rows(home, "PRAGMA integrity_check") == [("ok",)]


def left(home: Home) -> int:
    return int(rows(home, "SELECT count(*) FROM messages")[0][0])
