"""A watcher as a process: what is written to transcripts is in the archive soon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from observatory.store.locks import held
from observatory.store.watcher_status import WatcherStatus, read_watcher_status
from tests.processes import DEADLINE_SECONDS, Home, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import (
    Watcher,
    append,
    are_found,
    rows,
    session_path,
    start_watcher,
    texts,
    wait_for_failure,
    wait_for_texts,
    watching,
)

OTHER = "22222222-2222-4222-8222-222222222222"
THIRD = "33333333-3333-4333-8333-333333333333"


def talk(*prompts: str, session: str = "11111111-1111-4111-8111-111111111111") -> Transcript:
    transcript = Transcript(session, prefix=session[:8])
    for prompt in prompts:
        transcript.prompt(prompt)
    return transcript


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with one transcript of one prompt."""
    home = Home(tmp_path)
    one = talk("first")
    session_path(home, one).write_bytes(one.bytes())
    return home


@pytest.fixture
def path(home: Home) -> Path:
    """The transcript that is there."""
    return session_path(home, talk())


@pytest.fixture(params=["events", "polling"])
def watcher(home: Home, request: pytest.FixtureRequest):
    with watching(home, WATCH_MODE=request.param) as watcher:
        yield watcher
        [folder] = watcher.status.folders
        assert folder.mode in (request.param, "missing")


def test_appended_lines_appear_in_rows_and_search(home, path, watcher):
    wait_for_texts(home, "first")
    for number in range(2, 6):
        lines = talk("first", *(f"turn {n}" for n in range(2, number + 1))).bytes()
        append(path, lines[path.stat().st_size :])
        wait_for(lambda: are_found(home, "turn") == number - 1, what="the words")  # noqa: B023
    wait_for_texts(home, "first", *(f"turn {n}" for n in range(2, 6)))


def test_half_a_line_waits_and_a_whole_last_one_is_taken(home, path, watcher):
    lines = talk("first", "second", "third").bytes()
    ends = [n for n, byte in enumerate(lines) if byte == 10]
    append(path, lines[path.stat().st_size : ends[1] - 20])
    append(session_path(home, talk(session=OTHER)), talk("mark", session=OTHER).bytes())
    wait_for_texts(home, "first", "mark")
    append(path, lines[path.stat().st_size : ends[1]])
    wait_for_texts(home, "first", "second", "mark")
    append(path, lines[path.stat().st_size :])
    wait_for_texts(home, "first", "second", "third", "mark")


def test_new_files_folders_and_subagents_are_found(home, watcher):
    deep = home.projects / "-new" / "deeper" / f"{OTHER}.jsonl"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(talk("deep", session=OTHER).bytes())
    agent = home.projects / "-work" / talk().session_id / "subagents" / "agent-a1b2c3.jsonl"
    agent.parent.mkdir(parents=True)
    said = Transcript(prefix="c")
    said.prompt("for the agent", isSidechain=True, agentId="a1b2c3")
    agent.write_bytes(said.bytes())
    wait_for(lambda: sorted(texts(home)) == ["deep", "first", "for the agent"], what="all three")
    told = "SELECT agent_type FROM conversations WHERE agent_id = 'a1b2c3'"
    agent.with_suffix(".meta.json").write_text(json.dumps({"agentType": "Explore"}))
    wait_for(lambda: rows(home, told) == [("Explore",)], what="the type of the agent")


def test_a_folder_that_is_moved_in_is_read(home, watcher, tmp_path):
    outside = tmp_path / "elsewhere" / "-moved"
    outside.mkdir(parents=True)
    (outside / f"{OTHER}.jsonl").write_bytes(talk("moved", session=OTHER).bytes())
    outside.rename(home.projects / "-moved")
    wait_for_texts(home, "first", "moved")


def test_a_renamed_file_goes_on(home, path, watcher):
    moved = path.parent.parent / "-renamed" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    append(moved, talk("first", "second").bytes()[moved.stat().st_size :])
    wait_for_texts(home, "first", "second")


def test_a_renamed_folder_goes_on(home, path, watcher):
    folder = path.parent.with_name("-renamed")
    path.parent.rename(folder)
    moved = folder / path.name
    append(moved, talk("first", "second").bytes()[moved.stat().st_size :])
    wait_for_texts(home, "first", "second")
    append(moved, talk("first", "second", "third").bytes()[moved.stat().st_size :])
    wait_for_texts(home, "first", "second", "third")


def test_a_file_rewritten_shorter_is_read_again_and_nothing_goes(home, path, watcher):
    append(path, talk("first", "second", "third").bytes()[path.stat().st_size :])
    wait_for_texts(home, "first", "second", "third")
    path.write_bytes(talk("first", "second").bytes())
    wait_for_texts(home, "first", "second")
    assert rows(home, "SELECT content FROM messages WHERE is_superseded") == [("third",)]


def test_a_file_replaced_by_another_is_read_from_its_start(home, path, watcher):
    draft = path.with_suffix(".draft")
    draft.write_bytes(talk("first", "other", "and more").bytes())
    draft.replace(path)
    wait_for_texts(home, "first", "other", "and more")


def test_what_was_read_of_a_deleted_file_stays(home, path, watcher):
    path.unlink()
    append(session_path(home, talk(session=OTHER)), talk("mark", session=OTHER).bytes())
    wait_for_texts(home, "first", "mark")
    path.write_bytes(talk("first", "again").bytes())
    wait_for_texts(home, "first", "again", "mark")


def test_a_folder_that_goes_and_comes_back_is_followed_on(home, path, watcher):
    shutil.rmtree(home.projects)
    wait_for(lambda: watcher.status.folders[0].mode == "missing", what="its absence")
    path.parent.mkdir(parents=True)
    path.write_bytes(talk("first", "second").bytes())
    wait_for_texts(home, "first", "second")
    append(path, talk("first", "second", "third").bytes()[path.stat().st_size :])
    wait_for_texts(home, "first", "second", "third")


@pytest.mark.parametrize("mode", ["auto", "polling"])
def test_a_folder_that_is_made_later_is_followed(tmp_path, mode):
    home = Home(tmp_path)
    with watching(home, WATCH_MODE=mode) as watcher:
        assert watcher.status.folders[0].mode == "missing"
        path = session_path(home, talk())
        path.write_bytes(talk("first").bytes())
        wait_for_texts(home, "first")
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        wait_for_texts(home, "first", "second")


def test_links_inside_and_names_of_one_folder_twice_make_no_second_file(home, path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(home.projects)
    (home.projects / "-linked").symlink_to(path.parent)
    roots = f"{link},{home.projects},{path.parent}"
    with watching(home, TRANSCRIPTS_DIR=roots):
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        wait_for_texts(home, "first", "second")
        append(session_path(home, talk(session=OTHER)), talk("new", session=OTHER).bytes())
        wait_for_texts(home, "first", "second", "new")
        found = rows(home, "SELECT path FROM transcript_files ORDER BY path")
    assert found == [(str(link / "-work" / f"{s}.jsonl"),) for s in (talk().session_id, OTHER)]


def test_names_that_are_no_utf8_are_read(home, path):
    with watching(home):
        odd = os.fsdecode(os.fsencode(path.parent) + b"/odd-\xff.jsonl")
        Path(odd).write_bytes(talk("odd", session=OTHER).bytes())
        wait_for(lambda: "odd" in texts(home), what="the odd one")
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        wait_for(lambda: "second" in texts(home), what="the next line of another")


def test_a_folder_whose_name_is_no_utf8_is_followed(tmp_path):
    home = Home(tmp_path)
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    path = folder / f"{talk().session_id}.jsonl"
    path.write_bytes(talk("first").bytes())
    with watching(home, TRANSCRIPTS_DIR=str(folder)) as watcher:
        wait_for_texts(home, "first")
        assert [each.mode for each in watcher.status.folders] == ["polling"]
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        wait_for_texts(home, "first", "second")


def test_uploads_that_wait_are_read_at_the_start(home):
    folder = home.database.parent / "uploads" / ("ab" * 16)
    folder.mkdir(parents=True)
    (folder / f"{OTHER}.jsonl").write_bytes(talk("sent", session=OTHER).bytes())
    with watching(home):
        wait_for_texts(home, "first", "sent")


def test_a_file_that_can_not_be_read_is_tried_again(home, path):
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("who runs this may read everything")
    with watching(home):
        path.chmod(0o600)
        wait_for_texts(home, "first")


def test_a_folder_that_can_not_be_looked_at_hides_no_other(home):
    """Those that lie behind it were watched no more, and nobody was told."""
    closed = home.projects / "-closed"
    closed.mkdir()
    closed.chmod(0)
    if os.access(closed, os.R_OK):
        pytest.skip("who runs this may read everything")
    for number in range(9):
        (home.projects / f"-{number}").mkdir()
    with watching(home) as watcher:
        assert [each.mode for each in watcher.status.folders] == ["polling"]
        assert "Permission denied" in watcher.log.read_text()


# Locks


def test_a_second_watcher_is_refused_and_told_who_watches(home):
    with watching(home) as watcher:
        second = home.run("watch")
        assert second.returncode == 75
        assert f"Process {watcher.process.pid} on " in second.stderr


def test_other_commands_have_their_turn(home, path):
    with watching(home):
        ended = home.run("ingest", "--json")
        assert json.loads(ended.stdout)["unchanged_files"] == 1
        assert home.run("secrets", "scan").returncode == 0


def test_it_waits_while_another_process_ingests_and_goes_on(home, path):
    with watching(home) as watcher:
        with held(home.database, "ingest", wait_seconds=5):
            append(path, talk("first", "second").bytes()[path.stat().st_size :])
            waiting = home.database.with_name("observatory.db.watch-waiting.lock")
            wait_for(waiting.exists, what="the watcher to wait")
            assert texts(home) == ["first"]
        wait_for_texts(home, "first", "second")
        assert watcher.process.poll() is None


def test_it_ends_although_another_process_ingests(home):
    home.database.parent.mkdir()
    with held(home.database, "ingest"):
        watcher = start_watcher(home)
        waiting = home.database.with_name("observatory.db.watch-waiting.lock")
        wait_for(waiting.exists, what="the watcher to wait")
        assert watcher.end() == 0


# Ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_the_next_one_goes_on(home, path, number):
    with watching(home) as watcher:
        assert watcher.end(number) == 0
        assert watcher.status.state == "stopped"
    append(path, talk("first", "second").bytes()[path.stat().st_size :])
    with watching(home):
        wait_for_texts(home, "first", "second")


def test_it_ends_in_the_middle_of_a_backlog_and_loses_nothing(home):
    for number in range(60):
        session = f"{number:08d}-4444-4444-8444-444444444444"
        long = talk(*(f"turn {n} " + "word " * 20_000 for n in range(5)), session=session)
        session_path(home, long).write_bytes(long.bytes())
    watcher = start_watcher(home)
    wait_for(home.database.exists, what="the database")
    wait_for(lambda: rows(home, "PRAGMA user_version") and watcher.status.pid, what="its status")
    assert watcher.end() == 0
    watcher = start_watcher(home)
    wait_for(lambda: watcher.status.pid == watcher.process.pid, what="its status")
    watcher.end(signal.SIGKILL)
    with watching(home):
        assert len(texts(home)) == 301
        wait_for(lambda: are_found(home, "word") == 300, what="the index")


def test_after_a_death_the_next_one_goes_on(home, path):
    with watching(home) as watcher:
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        watcher.end(signal.SIGKILL)
        assert watcher.status.state == "stopped"
    with watching(home):
        wait_for_texts(home, "first", "second")


def test_live_lines_do_not_wait_for_a_backlog(home, path):
    outside = home.folder / "-backlog"
    outside.mkdir()
    for number in range(120):
        session = f"{number:08d}-4444-4444-8444-444444444444"
        long = talk(*(f"turn {n} " + "word " * 60_000 for n in range(5)), session=session)
        (outside / f"{session}.jsonl").write_bytes(long.bytes())
    with watching(home):
        outside.rename(home.projects / "-backlog")
        wait_for(lambda: len(texts(home)) > 1, what="the beginning of the backlog")
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        wait_for(lambda: "second" in texts(home, session=talk().session_id), what="the live line")
        assert len(texts(home)) < 602
        wait_for(lambda: len(texts(home)) == 602, what="the rest")


# Telling


def test_the_status_is_for_its_owner_and_true(home, path):
    assert read_watcher_status(home.database) == WatcherStatus()
    with watching(home) as watcher:
        file = home.database.with_name("observatory.db.watch.json")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        append(path, talk("first", "second").bytes()[path.stat().st_size :])
        before = watcher.status.last_read_at
        wait_for_texts(home, "first", "second")
        wait_for(lambda: watcher.status.last_read_at != before, what="the time of the reading")
        status = watcher.status
        assert (status.state, status.files, status.waiting_files) == ("running", 1, 0)
        assert status.folders[0].path == str(home.projects)
        assert status.last_failure is None
    assert read_watcher_status(home.database).state == "stopped"


def test_a_database_that_fails_is_logged_and_tried_again(home, path):
    with watching(home) as watcher:
        configured = rows(home, "SELECT 1")
        assert configured
        block = hold_write_lock(home)
        try:
            append(path, talk("first", "second").bytes()[path.stat().st_size :])
            wait_for_failure(watcher, "retry_seconds")
            assert watcher.status.state == "running"
        finally:
            block.kill()
            block.wait()
        wait_for_texts(home, "first", "second")
        wait_for(lambda: "locked" in (watcher.status.last_failure or ""), what="the failure")


def test_what_waits_while_the_database_fails_is_told_with_how_long_it_has(home, path):
    with watching(home) as watcher:
        block = hold_write_lock(home)
        try:
            append(path, talk("first", "second").bytes()[path.stat().st_size :])
            other = talk("third", session=OTHER)
            append(session_path(home, other), other.bytes())
            wait_for(lambda: watcher.status.waiting_files == 2, what="two files that wait")
            waiting = watcher.status
            assert waiting.waiting_bytes > 0
            failed_at = waiting.last_failure_at
            wait_for(lambda: watcher.status.last_failure_at != failed_at, what="another try")
            # To try again is no change, after which the wait would begin anew.
            assert watcher.status.last_change_at == waiting.last_change_at
        finally:
            block.kill()
            block.wait()
        wait_for(lambda: watcher.status.waiting_files == 0, what="them to be read")


def test_a_log_that_can_not_be_written_stops_nothing(home, path):
    """As on a full disk, and in a terminal that was closed."""
    with Path("/dev/full").open("wb") as full:
        watcher = start_watcher(home, stream=full)
    try:
        wait_for(watcher.is_caught_up, what="the watcher to catch up")
        block = hold_write_lock(home)
        try:
            append(path, talk("first", "second").bytes()[path.stat().st_size :])
            wait_for(lambda: watcher.status.last_failure, what="a failure that is logged")
        finally:
            block.kill()
            block.wait()
        wait_for_texts(home, "first", "second")
        assert watcher.process.poll() is None
    finally:
        watcher.process.kill()
        watcher.process.wait()


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_database_that_is_another_file_ends_it_and_the_next_one_reads_anew(home, path, how):
    with watching(home) as watcher:
        for file in home.database.parent.glob("observatory.db*"):
            file.unlink() if how == "deleted" else file.rename(file.with_name(f"old-{file.name}"))
        assert watcher.process.wait(timeout=DEADLINE_SECONDS) == 1
        assert "moved, deleted or replaced" in watcher.log.read_text()
    with watching(home):
        wait_for_texts(home, "first")


def test_a_schema_of_a_newer_version_ends_it(home, path):
    with watching(home) as watcher:
        rows(
            home,
            "INSERT INTO schema_migrations (name, applied) VALUES ('9999_later', '2026')"
            " RETURNING name",
        )
        rows(home, "CREATE TABLE later (key)")
        assert watcher.process.wait(timeout=DEADLINE_SECONDS) == 1
        assert "9999_later" in watcher.log.read_text()


HOLD = """
import sys, time
from observatory.store.database import configure, connect, database
configure(sys.argv[1])
connect()
with database.atomic("IMMEDIATE"):
    print("held", flush=True)
    time.sleep(600)
"""


def hold_write_lock(home: Home):
    """Return a process that keeps all others from writing."""
    block = home.popen("-c", HOLD, str(home.database))
    assert block.stdout is not None
    assert block.stdout.readline() == "held\n"
    block.stdout.close()
    assert block.stderr is not None
    block.stderr.close()
    return block


def test_it_says_where_nothing_is_yet(tmp_path):
    home = Home(tmp_path)
    with watching(home) as watcher:
        assert isinstance(watcher, Watcher)
        wait_for_failure(watcher, f"No transcripts in {home.projects} yet.")
