"""A disk that turns read-only under a server, as one with errors does, and a start on one."""

from __future__ import annotations

from tests.faults.clients import check_kept, send
from tests.faults.disks import fail, failing_disk, mend, remount, small_disk
from tests.processes import Home, finish, serving, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, session_path, wait_for_texts

LINES = {"Content-Type": "application/x-ndjson"}


def test_reads_go_on_and_writes_are_refused(tmp_path):
    home = Home(tmp_path, {"DB_SYNCHRONOUS": "FULL"})
    spoken, uploaded = Transcript(), Transcript("22222222-1111-4111-8111-111111111111", prefix="b")
    spoken.prompt("first")
    uploaded.prompt("uploaded")
    path = session_path(home, spoken)
    path.write_bytes(spoken.bytes())
    with failing_disk(home.database.parent):
        with serving(home, WEB_WORKERS="1") as server:
            wait_for_texts(home, "first", session=spoken.session_id)
            made = server.post("/api/conversations", {"title": "before"})
            said = {"role": "user", "content": "client 1 says this"}
            server.post(f"/api/conversations/{made['id']}/messages", said)
            fail(home.database.parent)
            for _ in range(5):
                refused = [
                    send(server, "POST", "/api/conversations", {"title": "during"}),
                    send(server, "POST", "/api/files/upload", uploaded.bytes(), **LINES),
                ]
                for answer in refused:
                    assert (answer.status, answer.body["code"]) == (503, "NOT_READY"), answer
                    assert "retry-after" in answer.headers
                assert "The disk can only be read" in refused[1].body["error"]
                assert server.data("/api/conversations")["pagination"]["total"] == 2
                assert server.get("/api/search?q=first")[0] == 200
            spoken.answer("second")
            append(path, spoken.bytes()[path.stat().st_size :])
            wait_for(lambda: '"watch_failed"' in server.log.read_text(), what="its word")
            assert "Read-only file system" in server.log.read_text()
            assert "request_failed" not in server.log.read_text()
            assert server.stop() == 0
        mend(home.database.parent)
        with serving(home, WEB_WORKERS="1") as server:
            wait_for_texts(home, "first", "second", session=spoken.session_id)
            assert (
                send(server, "POST", "/api/files/upload", uploaded.bytes(), **LINES).status == 201
            )
        check_kept(home, ["client 1 says this"])


def test_a_start_is_refused_with_what_to_do(tmp_path):
    home = Home(tmp_path)
    with small_disk(home.database.parent, mebibytes=48):
        assert home.run("migrate").returncode == 0
        with serving(home, "--no-ingest") as server:
            assert server.stop() == 0
        remount(home.database.parent, mode="ro")
        ended = finish(home.popen("-m", "observatory", "serve"))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Let this user read and write it and its folder" in ended.stderr


def test_what_only_looks_works(tmp_path):
    home = Home(tmp_path)
    spoken = Transcript()
    spoken.prompt("first")
    session_path(home, spoken).write_bytes(spoken.bytes())
    with small_disk(home.database.parent, mebibytes=48):
        assert home.run("ingest").returncode == 0
        remount(home.database.parent, mode="ro")
        for command in (
            ("verify",),
            ("verify", "--rollups"),
            ("export", "all.ndjson"),
            ("export", "-"),
            ("backup", "b.db"),
        ):
            ended = home.run(*command)
            assert "Traceback" not in ended.stderr
            assert ended.returncode == 0, (command, ended.stderr)
            assert '"first"' in ended.stdout or command != ("export", "-")
    assert '"first"' in (home.folder / "all.ndjson").read_text()
