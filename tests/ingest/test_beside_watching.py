"""What the watcher does beside reading: chores between readings, and threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from observatory.ingest import watching
from observatory.ingest.beside import Chore, Companion
from observatory.ingest.running import ingest
from observatory.ingest.watching import watch
from observatory.store.database import fetch_all
from observatory.store.locks import held
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
