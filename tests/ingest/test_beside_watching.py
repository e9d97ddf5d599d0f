"""What the watcher does beside reading: chores between readings, and threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from observatory.ingest import watching
from observatory.ingest.beside import Chore, Companion, LongChore, Outcome
from observatory.ingest.running import ingest
from observatory.ingest.watching import watch
from observatory.store.database import fetch_all
from observatory.store.locks import held
from observatory.store.maintenance import list_runs, record_run
from observatory.store.watcher_status import (
    FolderStatus,
    WatcherStatus,
    read_watcher_status,
    watcher_status_path,
    write_watcher_status,
)
from tests.processes import DEADLINE_SECONDS
from tests.transcripts_for_tests import Transcript


class Until:
    """Tells to stop once a condition holds, which it must before the deadline."""

    def __init__(self, condition) -> None:
        self.condition = condition
        self.deadline = time.monotonic() + DEADLINE_SECONDS

    def __call__(self) -> bool:
        assert time.monotonic() < self.deadline
        return bool(self.condition())


@pytest.fixture
def logged(monkeypatch) -> list[str]:
    """What is logged as an error, and of what."""
    told: list[str] = []

    def error(event: str, *, name: str, exc_info: Exception) -> None:
        told.append(f"{event} {name}")

    monkeypatch.setattr(watching.log, "error", error)
    return told


def test_chores_run_between_readings_and_their_failures_stop_nothing(db, projects, logged):
    done: list[int] = []

    def count() -> None:
        done.append(fetch_all("SELECT count(*) FROM messages")[0][0])

    def fail() -> None:
        raise ZeroDivisionError

    chores = (Chore("failing", 0.01, fail), Chore("counting", 0.01, count))
    watch(
        [str(projects)], database_path=db, should_stop=Until(lambda: len(done) > 2), chores=chores
    )
    assert "chore_failed failing" in logged


def test_a_failure_may_last_for_ever(db, projects, monkeypatch):
    """It was the end after 1,024 times, some nine hours of a full disk."""
    failures: list[float] = []

    def fail(**_options: object) -> None:
        raise OSError(28, "No space left on device")

    def note(event: str, *, retry_seconds: float, **_fields: object) -> None:
        failures.append(retry_seconds)

    monkeypatch.setattr(watching, "mend_interrupted", fail)
    monkeypatch.setattr(watching.log, "error", note)
    monkeypatch.setattr(watching, "_FIRST_BACKOFF_SECONDS", 1e-9)
    monkeypatch.setattr(watching, "_LONGEST_BACKOFF_SECONDS", 1e-8)
    watch([str(projects)], database_path=db, should_stop=Until(lambda: len(failures) > 1100))
    assert failures[:6] == [1e-9, 2e-9, 4e-9, 8e-9, 1e-8, 1e-8]


def test_companions_live_as_long_as_the_watcher(db, projects, logged):
    told: list[str] = []

    def live(stop: threading.Event) -> None:
        told.append("begun")
        stop.wait(DEADLINE_SECONDS)
        told.append("stopped")

    def die(stop: threading.Event) -> None:
        raise ZeroDivisionError

    companions = (Companion("dying", die), Companion("living", live))
    stop = Until(lambda: "begun" in told)
    watch([str(projects)], database_path=db, should_stop=stop, companions=companions)
    assert told == ["begun", "stopped"]
    assert logged == ["companion_failed dying"]


def test_what_a_dead_process_read_and_did_not_index_is_found(db, projects, write, monkeypatch):
    transcript = Transcript()
    transcript.prompt("needle")
    write(transcript)
    with monkeypatch.context() as broken:
        broken.setattr("observatory.ingest.running._Run.index", lambda *args: None)
        ingest([str(projects)])
    needle = "SELECT count(*) FROM message_search WHERE message_search MATCH 'needle'"
    assert fetch_all(needle) == [(0,)]
    watch([str(projects)], database_path=db, should_stop=Until(lambda: fetch_all(needle) == [(1,)]))


def test_a_live_line_costs_what_it_needs(db, projects, write, monkeypatch):
    """Whatever the archive holds, its other files and conversations are not looked at."""
    transcript = Transcript()
    transcript.prompt("first")
    path = write(transcript)
    statements: list[str] = []

    def is_read() -> bool:
        return fetch_all("SELECT count(*) FROM messages") == [(2,)]

    def append() -> None:
        if transcript.number == 1:
            transcript.prompt("second")
            monkeypatch.setattr("observatory.ingest.watching.read_states", statements.append)
            monkeypatch.setattr("observatory.ingest.running.read_states", statements.append)
            monkeypatch.setattr("observatory.ingest.running.read_sums", statements.append)
            path.write_bytes(transcript.bytes())

    chores = (Chore("appending", 0.1, append),)
    watch([str(projects)], database_path=db, should_stop=Until(is_read), chores=chores)
    assert statements == []


STATUS = WatcherStatus(state="running", pid=7, folders=(FolderStatus("/a", "events", 3),), files=3)


def test_a_status_is_believed_while_its_watcher_lives(tmp_path):
    path = tmp_path / "observatory.db"
    assert read_watcher_status(path) == WatcherStatus()
    write_watcher_status(path, STATUS)
    assert read_watcher_status(path).state == "stopped"
    with held(path, "watch"):
        assert read_watcher_status(path) == STATUS


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"folders": 7}', b'{"folders": [], "a": 1}']
)
def test_a_status_of_another_version_is_none(tmp_path: Path, content):
    path = tmp_path / "observatory.db"
    watcher_status_path(path).write_bytes(content)
    assert read_watcher_status(path) == WatcherStatus()


def test_how_chores_went_is_kept_and_what_fails_is_tried_later(db, projects, logged):
    tries: list[float] = []

    def fail_twice() -> None:
        tries.append(time.monotonic())
        if len(tries) <= 2:
            raise ZeroDivisionError

    told: list[list[tuple]] = []

    def look() -> Outcome:
        told.append([(run.name, run.result, run.is_good) for run in list_runs()])
        return Outcome("looked")

    chores = (Chore("failing", 0.02, fail_twice), Chore("looking", 0.01, look))
    is_well = ("failing", "went well again", True)
    watch(
        [str(projects)],
        database_path=db,
        should_stop=Until(lambda: told and is_well in told[-1] and ("looking", "looked", True)),
        chores=chores,
    )
    assert [("failing", "failed: ZeroDivisionError", False)] in [rows[:1] for rows in told]
    # Twice, then four times the interval.
    assert tries[1] - tries[0] >= 0.04
    assert tries[2] - tries[1] >= 0.08
    assert read_watcher_status(db).last_failure == "failing: ZeroDivisionError"
    assert logged == ["chore_failed failing"] * 2


def test_a_failure_of_an_earlier_watcher_is_taken_back(db, projects):
    record_run("counting", duration_ms=1, result="failed: x", is_good=False, next_seconds=1)

    def is_well() -> bool:
        return [(run.name, run.is_good) for run in list_runs()] == [("counting", True)]

    chores = (Chore("counting", 0.01, lambda: None),)
    watch([str(projects)], database_path=db, should_stop=Until(is_well), chores=chores)


def test_long_chores_give_way_to_what_is_to_be_read(db, projects):
    """A line that comes while one runs ends it, and is read before it runs again."""
    transcript = Transcript()
    transcript.prompt("hello")
    seen: list[int] = []

    def work(should_give_way) -> None:
        seen.append(fetch_all("SELECT count(*) FROM messages")[0][0])
        if should_give_way() or seen[-1]:
            return
        (projects / "a.jsonl").write_bytes(transcript.bytes())
        until = time.monotonic() + DEADLINE_SECONDS
        while not should_give_way():
            assert time.monotonic() < until
            time.sleep(0.001)

    chores = (LongChore("working", 0.01, work),)
    watch(
        [str(projects)],
        database_path=db,
        should_stop=Until(lambda: bool(seen) and seen[-1] == 1),
        chores=chores,
    )
    assert seen[-1] == 1
