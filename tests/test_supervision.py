"""The watcher beside a server: started again when it dies, and gone when the server is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from observatory.store.watcher_status import read_watcher_status
from tests.processes import Home, Server, serving, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, session_path, watching


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    one = Transcript()
    one.prompt("first")
    session_path(home, one).write_bytes(one.bytes())
    return home


def watcher_of(home: Home, *, other_than: int | None = None) -> int:
    """Return the process id of the watcher that runs, once it does."""

    def found() -> int | None:
        status = read_watcher_status(home.database)
        return status.pid if status.state == "running" and status.pid != other_than else None

    return int(wait_for(found, what="a watcher"))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def supervisor_of(server: Server) -> int:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    [pid] = [
        int(child)
        for child in children.split()
        if b"observatory.supervise" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return pid


def say_second(home: Home) -> None:
    """Write a second line to the transcript."""
    said = Transcript()
    said.prompt("first")
    said.answer("second")
    path = session_path(home, said)
    append(path, said.bytes()[path.stat().st_size :])


def number_of_messages(server: Server) -> int:
    [conversation] = server.data("/api/conversations")["conversations"]
    return int(conversation["message_count"])


def test_a_watcher_that_is_killed_is_started_again(home):
    with serving(home, WEB_WORKERS="1") as server:
        first = watcher_of(home)
        os.kill(first, signal.SIGKILL)
        second = watcher_of(home, other_than=first)
        say_second(home)
        wait_for(lambda: number_of_messages(server) == 2, what="the line")
        assert server.stop() == 0
        assert not is_alive(second)
        assert "The watcher ended (signal 9)" in server.log.read_text()


def test_a_server_that_is_killed_leaves_no_watcher(home):
    with serving(home, WEB_WORKERS="1") as server:
        watcher, supervisor = watcher_of(home), supervisor_of(server)
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not is_alive(watcher) and not is_alive(supervisor), what="their end")
        assert read_watcher_status(home.database).state == "stopped"
        assert '"watch_stopped"' in server.log.read_text()


def test_a_supervisor_that_is_killed_is_started_again(home):
    with serving(home, WEB_WORKERS="1") as server:
        watcher, supervisor = watcher_of(home), supervisor_of(server)
        os.kill(supervisor, signal.SIGKILL)
        wait_for(lambda: not is_alive(watcher), what="its end")
        second = watcher_of(home, other_than=watcher)
        say_second(home)
        wait_for(lambda: number_of_messages(server) == 2, what="the line")
        assert server.stop() == 0
        assert not is_alive(second)


def test_a_terminal_that_is_closed_leaves_the_watcher(home):
    """The kernel tells all that were started in it; for gunicorn that is to reload."""
    with serving(home, WEB_WORKERS="1") as server:
        watcher, supervisor = watcher_of(home), supervisor_of(server)
        for pid in (watcher, supervisor, server.process.pid):
            os.kill(pid, signal.SIGHUP)
        say_second(home)
        wait_for(lambda: number_of_messages(server) == 2, what="the line")
        assert (watcher_of(home), supervisor_of(server)) == (watcher, supervisor)
        assert server.stop() == 0
        assert not is_alive(watcher)


def test_beside_another_watcher_it_stands_by_and_takes_over(home):
    with watching(home) as other, serving(home, WEB_WORKERS="1") as server:
        wait_for(lambda: "stands by" in server.log.read_text(), what="its word")
        assert read_watcher_status(home.database).pid == other.process.pid
        assert other.end() == 0
        watcher_of(home, other_than=other.process.pid)
        assert server.log.read_text().count("stands by") == 1
        assert server.stop() == 0


def test_the_supervisor_is_small(home):
    with serving(home, WEB_WORKERS="1") as server:
        watcher_of(home)
        smaps = Path(f"/proc/{supervisor_of(server)}/status").read_text()
        [kib] = [line.split()[1] for line in smaps.splitlines() if line.startswith("VmRSS")]
        assert int(kib) < 20_000
