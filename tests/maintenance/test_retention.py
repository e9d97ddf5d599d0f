"""For how long conversations are kept: rules, what is due by them, and what is left alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from observatory.ingest import removing
from observatory.maintenance.retention import Retention
from observatory.store import retention as store
from observatory.store.conversation_changes import restore_conversation, trash_conversation
from observatory.store.database import execute, fetch_all
from observatory.store.rollup_building import verify_rollups
from observatory.store.scopes import WHOLE
from observatory.store.secret_rows import update_project
from tests.ingest.dumps import check_sound
from tests.transcripts_for_tests import START, Transcript

DAY = 86400.0
SAID = START.timestamp()
ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def read(write, ingest):
    """Reads a conversation that ended at the time of its records, and its file with it."""

    def one(session: str = ONE, *, cwd: str = "/home/ada/engine", path=None, **common):
        transcript = Transcript(session, cwd=cwd, prefix=session[0] if not common else "s")
        transcript.common |= common
        transcript.prompt("hello")
        transcript.answer("yes")
        file = write(transcript, path)
        os.utime(file, (SAID + 10, SAID + 10))
        ingest()
        return file

    return one


def days_later(days: float):
    return lambda: SAID + days * DAY


def run(days_on: float, *, days: int = 0, trash_days: int = 0) -> str | None:
    """Let a new chore do its whole round, so many days after what was said."""
    chore = Retention(days=days, trash_days=trash_days, clock=days_later(days_on))
    for _ in range(1000):
        outcome = chore(lambda: False)
        if outcome is None or outcome.again_seconds is None:
            return outcome and outcome.result
    raise AssertionError("it does not end")


def states() -> dict[str, str]:
    """Return of each conversation whether it is there or in the trash."""
    rows = fetch_all("SELECT id, deleted_at IS NULL FROM conversations ORDER BY id")
    return {name: "there" if is_there else "trash" for name, is_there in rows}


def rule(days: int | None, action: str = "trash", path: str = "/home/ada/engine") -> None:
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = ?", (path,))
    store.set_policy(key, days=days, action=action, scope=WHOLE)


def audited() -> list[tuple]:
    return fetch_all("SELECT actor, action, target FROM audit_log ORDER BY key")


def test_without_rules_everything_is_kept(read):
    read()
    assert run(36_000) is None
    assert states() == {ONE: "there"}


def test_the_servers_rule_moves_to_the_trash(read):
    read()
    assert run(29, days=30) is None
    assert run(31, days=30) == "1 conversations to the trash, 0 removed"
    assert states() == {ONE: "trash"}
    assert audited() == [("retention", "conversation.trash", f"conversation:{ONE}")]
    [(subject, data)] = fetch_all(
        "SELECT subject_id, data FROM events WHERE type = 'conversation_deleted'"
    )
    assert subject == ONE and '"is_permanent": false' in data
    assert run(9999, days=30) is None


def test_a_projects_rule_goes_before_the_servers(read):
    read(ONE)
    read(TWO, cwd="/home/ada/other")
    rule(None)
    assert run(31, days=30) == "1 conversations to the trash, 0 removed"
    assert states() == {ONE: "there", TWO: "trash"}
    rule(60)
    assert run(59) is None
    assert run(61) == "1 conversations to the trash, 0 removed"


def test_a_rule_may_remove_for_good_and_it_does_not_come_back(read, ingest):
    file = read()
    rule(30, "remove")
    assert run(31) == "0 conversations to the trash, 1 removed"
    assert states() == {}
    assert audited() == [("retention", "conversation.delete_permanently", f"conversation:{ONE}")]
    with file.open("ab") as stream:
        more = Transcript(ONE, prefix="1")
        more.number = 2
        more.prompt("again")
        stream.write(more.bytes())
    ingest()
    assert states() == {}
    check_sound()
    assert verify_rollups().are_none


def test_it_does_not_come_back_under_another_name(read, write, ingest, client):
    file = read()
    rule(30, "remove")
    run(31)
    uploaded = [("file", "session (1).jsonl", file.read_bytes())]
    client.post("/api/files/upload", upload_files=uploaded)
    file.rename(file.with_name("kept.jsonl"))
    ingest()
    assert states() == {}
    # One that goes on with it under a name of its own is another one.
    resumed = Transcript(TWO, prefix="2")
    resumed.prompt("and on")
    other = write(resumed)
    other.write_bytes(uploaded[0][2] + resumed.bytes())
    ingest()
    assert states() == {TWO: "there"}


def test_what_a_rule_removes_goes_from_the_trash_too(read):
    read()
    trash_conversation(ONE, scope=WHOLE)
    rule(30, "remove")
    assert run(31) == "0 conversations to the trash, 1 removed"


def test_a_project_with_a_rule_outlives_its_conversations(read, client):
    read()
    rule(30, "remove")
    run(31)
    assert fetch_all("SELECT path FROM projects") == [("/home/ada/engine",)]
    client.delete("/api/projects/1/retention")
    assert fetch_all("SELECT path FROM projects") == []


# What is left alone


def test_a_file_that_was_changed_lately_keeps_its_conversation(read):
    file = read()
    os.utime(file, (SAID + 20 * DAY, SAID + 20 * DAY))
    execute("UPDATE transcript_files SET modified_ns = ?", (file.stat().st_mtime_ns,))
    assert run(31, days=30) is None
    assert run(51, days=30) is not None


def test_what_is_not_read_yet_keeps_its_conversation(read, ingest):
    file = read()
    with file.open("ab") as stream:
        stream.write(b'{"type":"mode"}\n')
    os.utime(file, (SAID + 10, SAID + 10))
    assert run(31, days=30) is None
    ingest()
    assert run(31, days=30) is not None


def test_a_file_that_is_gone_keeps_nothing(read):
    read().unlink()
    assert run(31, days=30) is not None


def test_what_a_session_started_later_keeps_all_of_it(read):
    read()
    path = f"-work/{ONE}/subagents/agent-abc123.jsonl"
    read(ONE, path=path, isSidechain=True, agentId="abc123")
    execute(
        "UPDATE conversations SET updated_at = ? WHERE kind = 'subagent'",
        ("2026-03-20T00:00:00.000Z",),
    )
    assert run(31, days=30) is None
    assert run(50, days=30) == "1 conversations to the trash, 0 removed"
    assert set(states().values()) == {"trash"}


def test_a_live_conversation_is_left_alone(read):
    read()
    execute("INSERT INTO live_conversations VALUES (1, '2026-03-04T00:00:00.000Z')")
    assert run(31, days=30) is None


def test_what_was_taken_out_of_the_trash_stays_as_long_again(read):
    read()
    run(31, days=30)
    restore_conversation(ONE, scope=WHOLE)
    now = (datetime.now(UTC).timestamp() - SAID) / DAY
    assert run(now + 29, days=30) is None
    assert states() == {ONE: "there"}
    assert run(now + 31, days=30) is not None


# The trash


def test_the_trash_is_kept_for_ever_unless_told(read):
    read()
    trash_conversation(ONE, scope=WHOLE)
    execute("UPDATE conversations SET deleted_at = '2026-04-01T00:00:00.000Z'")
    assert run(36_000) is None
    assert run(28 + 29, trash_days=30) is None
    assert run(28 + 31, trash_days=30) == "0 conversations to the trash, 1 removed"
    assert states() == {}


def test_what_lies_in_the_trash_by_itself_goes_without_what_started_it(read):
    read()
    path = f"-work/{ONE}/subagents/agent-abc123.jsonl"
    read(ONE, path=path, isSidechain=True, agentId="abc123")
    trash_conversation(f"{ONE}.abc123", scope=WHOLE)
    execute(
        "UPDATE conversations SET deleted_at = '2026-04-01T00:00:00.000Z' WHERE kind <> 'session'"
    )
    assert run(28 + 31, trash_days=30) == "0 conversations to the trash, 1 removed"
    assert states() == {ONE: "there"}


def test_a_session_in_the_trash_takes_all_along_once(read):
    read()
    path = f"-work/{ONE}/subagents/agent-abc123.jsonl"
    read(ONE, path=path, isSidechain=True, agentId="abc123")
    trash_conversation(ONE, scope=WHOLE)
    execute("UPDATE conversations SET deleted_at = '2026-04-01T00:00:00.000Z'")
    assert run(28 + 31, trash_days=30) == "0 conversations to the trash, 1 removed"
    assert states() == {}


# In steps


def test_it_waits_while_there_is_something_to_read(read):
    read()
    outcome = Retention(days=30, clock=days_later(31))(lambda: True)
    assert (outcome.result, outcome.again_seconds is None) == (None, False)
    assert states() == {ONE: "there"}


def test_a_large_removal_is_done_in_pieces(write, ingest, monkeypatch):
    transcript = Transcript(ONE)
    for number in range(1500):
        transcript.prompt(f"word{number}")
    os.utime(write(transcript), (SAID + 10, SAID + 10))
    ingest()
    rule(30, "remove")
    chore = Retention(clock=days_later(31))
    left = []
    while not left or left[-1]:
        asked = iter([False, False])
        chore(lambda asked=asked: next(asked, True))
        left.append(fetch_all("SELECT count(*) FROM messages")[0][0])
    assert left == sorted(left, reverse=True)
    assert len(set(left)) > 1
    assert run(31) is None
    assert states() == {}


def test_an_upload_goes_when_its_removal_is_ended_later(client, db):
    transcript = Transcript(ONE)
    transcript.prompt("hello")
    files = [("file", f"{ONE}.jsonl", transcript.bytes())]
    client.post("/api/files/upload", upload_files=files)
    uploads = db.parent / "uploads"
    assert len(list(uploads.rglob("*.jsonl"))) == 1
    removing.begin_removal(ONE, scope=WHOLE)
    assert removing.finish_removals()
    assert list(uploads.rglob("*.jsonl")) == []
    assert removing.forget_gone_files() == 1
    assert fetch_all("SELECT * FROM transcript_files") == []


# Projects that become one


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ((30, "trash"), (60, "trash"), (60, "trash")),
        ((30, "remove"), (20, "trash"), (20, "trash")),
        ((None, "trash"), (20, "remove"), (None, "trash")),
        ((30, "trash"), None, None),
        (None, (30, "trash"), None),
        (None, (None, "trash"), (None, "trash")),
    ],
)
def test_of_two_rules_the_milder_one_holds(read, first, second, left):
    read(ONE)
    read(TWO, cwd="/home/ada/other")
    for given, path in ((first, "/home/ada/engine"), (second, "/home/ada/other")):
        if given is not None:
            rule(*given, path=path)
    update_project(1, path="/home/ada/other", name="other")
    rows = fetch_all("SELECT days, action FROM project_retention")
    assert rows == ([left] if left else [])
