"""Reading on request, beside requests: states that are true, also after a death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from observatory.ingest import jobs as reading
from observatory.ingest.jobs import jobs, note
from observatory.store import transcript_files as files
from observatory.store.database import fetch_all
from observatory.store.locks import held, is_held
from observatory.store.scopes import WHOLE
from tests.processes import Home, wait_for
from tests.transcripts_for_tests import Transcript

SESSION = "22222222-2222-4222-8222-222222222222"
PROGRAM = """
import sys, time
from observatory.ingest import running
from observatory.store.database import configure, connect
from observatory.store.locks import held
configure(sys.argv[1])
connect()
apply = running.apply_chunks
def apply_and_wait(batch):
    touched = apply(batch)
    print("applied", flush=True)
    sys.stdin.readline()
    return touched
running.apply_chunks = apply_and_wait
with held(sys.argv[1], 'ingest'):
    running.ingest([sys.argv[2]])
"""


@pytest.fixture
def large(write) -> str:
    """The path of a transcript that takes several batches."""
    transcript = Transcript(SESSION)
    for turn in range(30):
        transcript.prompt(f"turn {turn} " + "word " * 100_000)
    return str(write(transcript))


def status_of(key: int) -> str:
    return files.get_file(key, scope=WHOLE)["status"]


def read_now(path: str) -> None:
    assert jobs.submit(path).wait(60)
    jobs.join()


def start(database: Path, path: str) -> subprocess.Popen[str]:
    """Begin to read a file in a process that waits after each batch."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(database), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "applied\n"
    return child


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def test_states_are_true_while_a_file_is_read_and_after_its_reader_died(db, large):
    key = note(large)
    assert status_of(key) == "pending"
    child = start(db, large)
    try:
        file = files.get_file(key, scope=WHOLE)
        assert file["status"] == "processing"
        assert 0 < file["byte_offset"] < file["size"]
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert files.get_file(key, scope=WHOLE)["status"] == "pending"
    finally:
        end(child)
    read_now(large)
    file = files.get_file(key, scope=WHOLE)
    assert (file["status"], file["line_count"]) == ("completed", 30)
    assert file["byte_offset"] == file["size"]
    assert fetch_all("SELECT count(*) FROM messages") == [(30,)]


def test_a_reading_gives_way_to_the_watcher_and_goes_on(db, large):
    key = note(large)
    with held(db, "watch-waiting"):
        done = jobs.submit(large)
        wait_for(lambda: files.get_file(key, scope=WHOLE)["byte_offset"], what="its first batch")
        # It leaves the lock, and does not come back for it as long as the watcher waits.
        with held(db, "ingest", wait_seconds=60):
            file = files.get_file(key, scope=WHOLE)
            assert 0 < file["byte_offset"] < file["size"]
        assert not done.is_set()
    assert done.wait(60)
    jobs.join()
    file = files.get_file(key, scope=WHOLE)
    assert (file["status"], file["line_count"]) == ("completed", 30)


def test_what_another_run_left_is_pending_while_the_next_reads_other_files(db, large, write):
    key = note(large)
    end(start(db, large))
    other = Transcript("33333333-3333-4333-8333-333333333333", prefix="b")
    for _ in range(10):
        other.prompt("word " * 200_000)
    child = start(db, str(write(other)))
    try:
        assert is_held(db, "ingest")
        assert status_of(key) == "pending"
    finally:
        end(child)


def test_a_reading_from_the_start_that_died_goes_on_and_doubles_nothing(db, large):
    key = note(large)
    read_now(large)
    files.mark_reread(key)
    end(start(db, large))
    assert status_of(key) == "pending"
    read_now(large)
    assert status_of(key) == "completed"
    rows = fetch_all("SELECT count(*), sum(is_superseded), min(generation) FROM messages")
    assert rows == [(30, 0, 2)]


def test_a_reading_from_the_start_outlives_a_run_that_was_under_way(db, large):
    key = note(large)
    child = start(db, large)
    files.mark_reread(key)
    assert status_of(key) == "processing"
    child.communicate("\n" * 100)
    assert status_of(key) == "pending"
    read_now(large)
    assert status_of(key) == "completed"
    assert fetch_all("SELECT generation FROM transcript_files") == [(2,)]


def test_a_file_that_vanishes_before_it_is_read_is_an_error(db, large):
    with held(db, "ingest"):
        key = note(large)
        jobs.submit(large)
        Path(large).unlink()
    jobs.join()
    file = files.get_file(key, scope=WHOLE)
    assert (file["status"], file["error_message"] is None) == ("error", False)


def test_a_reading_that_fails_is_an_error_and_the_next_goes_well(db, large, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("broken")

    key = note(large)
    with monkeypatch.context() as broken:
        broken.setattr(reading, "ingest", fail)
        broken.setattr(reading.log, "error", lambda *args, **facts: None, raising=False)
        jobs.submit(large)
        jobs.join()
    assert status_of(key) == "error"
    jobs.submit(large)
    jobs.join()
    file = files.get_file(key, scope=WHOLE)
    assert (file["status"], file["error_message"]) == ("completed", None)


def test_many_requests_for_one_file_are_one_reading(db, large, monkeypatch):
    read: list[list[str]] = []
    real = reading.ingest
    monkeypatch.setattr(
        reading, "ingest", lambda paths, **options: (read.append(paths), real(paths, **options))
    )
    with held(db, "ingest"):
        note(large)
        for _ in range(50):
            jobs.submit(large)
    jobs.join()
    assert len(read) <= 2


def test_an_ingest_reads_uploads_that_wait(tmp_path):
    home = Home(tmp_path)
    transcript = Transcript(SESSION)
    transcript.prompt("hello")
    place = home.database.parent / "uploads" / "0123456789abcdef" / f"{SESSION}.jsonl"
    place.parent.mkdir(parents=True)
    place.write_bytes(transcript.bytes())
    arriving = home.database.parent / "uploads" / ".incoming" / "x" / "half.jsonl"
    arriving.parent.mkdir(parents=True)
    arriving.write_bytes(transcript.bytes())
    assert '"files":1' in home.run("ingest", "--json").stdout
    assert '"files":0' in home.run("ingest", "--json").stdout
    home.projects.mkdir(parents=True)
    assert '"unchanged_files":0' in home.run("ingest", "--json", str(home.projects)).stdout


def test_the_lock_can_be_looked_at(db):
    assert not is_held(db, "ingest")
    with held(db, "ingest"):
        assert is_held(db, "ingest")
    assert not is_held(db, "ingest")
