"""A disk that is full while a server and its watcher run.

What an ingest does then is in ingest/test_hard_input.py, what signing in does in
api/test_sign_in.py; both by SQLite's own limit. Here the disk is really full.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.clients import Answer, check_kept, send, writing_clients
from tests.faults.disks import fill, small_disk
from tests.processes import Home, Server, serving, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, session_path, wait_for_texts


@pytest.fixture
def home(tmp_path) -> Iterator[Home]:
    home = Home(tmp_path)
    with small_disk(home.database.parent, mebibytes=48):
        yield home


def check_full(answer: Answer) -> None:
    """Assert that an answer says what is the matter and what to do."""
    assert (answer.status, answer.body["code"]) == (507, "DISK_FULL"), answer
    assert "Make room" in answer.body["error"]


def write(server: Server) -> Answer:
    """Write something that needs room."""
    return send(server, "POST", "/api/conversations", {"title": "more " * 40})


def upload(server: Server, transcript: Transcript) -> Answer:
    """Upload a transcript that needs room before it gets to the database."""
    kind = {"Content-Type": "application/x-ndjson"}
    return send(server, "POST", "/api/files/upload", transcript.bytes(), **kind)


def test_writes_are_refused_reads_go_on_and_all_recovers(home):
    spoken, uploaded = Transcript(), Transcript("22222222-1111-4111-8111-111111111111", prefix="b")
    spoken.prompt("first")
    uploaded.prompt("uploaded " * 100_000)
    path = session_path(home, spoken)
    path.write_bytes(spoken.bytes())
    with serving(home, WEB_WORKERS="2") as server:
        wait_for_texts(home, "first", session=spoken.session_id)
        with writing_clients(server, 4, size=2000) as writers:
            wait_for(lambda: len(writers.promised) > 20, what="some writes")
            filler = fill(home.database.parent)
            wait_for(lambda: 507 in writers.statuses, what="a refusal")
            check_full(upload(server, uploaded))
            answers = [write(server) for _ in range(4)]
            for _ in range(10):
                assert server.data("/api/conversations")["pagination"]["total"] > 0
                assert server.get("/api/search?q=first")[0] == 200
                assert server.get("/api/analytics/files")[0] == 200
            assert server.get("/health/ready")[0] == 200
            spoken.answer("second")
            append(path, spoken.bytes()[path.stat().st_size :])
            wait_for(lambda: '"watch_failed"' in server.log.read_text(), what="the watcher's word")
            # Some may still find room in what the log of writes had before.
            for answer in answers:
                assert answer.status == 201 or check_full(answer) is None
            before = len(writers.promised)
            filler.unlink()
            wait_for(lambda: len(writers.promised) > before + 20, what="writes to go on")
        wait_for_texts(home, "first", "second", session=spoken.session_id)
        assert upload(server, uploaded).status == 201
        assert set(writers.statuses) <= {201, 503, 507}
        assert "request_failed" not in server.log.read_text()
        assert server.stop() == 0
    check_kept(home, writers.promised)


def test_a_migration_says_so_and_goes_on_once_there_is_room(home):
    home.database.parent.joinpath("observatory.db").touch(mode=0o600)
    filler = fill(home.database.parent, spare_bytes=300_000)
    ended = home.run("migrate")
    assert ended.returncode == 1
    assert "Make room on the disk" in ended.stderr
    filler.unlink()
    assert home.run("migrate").returncode == 0
    check_kept(home, [])
