"""Workers, the watcher or all are killed while clients write and a transcript grows.

That each event is told once is in test_told_writing.py, ingests that are killed are in
ingest/test_kill.py, and who starts whom again is in test_supervision.py.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack
from functools import partial
from threading import Event, Thread

import pytest

from tests.faults.clients import check_kept, writing_clients
from tests.faults.process_trees import is_running, kill, tree_of, watcher_of, workers_of
from tests.processes import Home, Server, serving, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import append, session_path, texts, watching


class Speaker(Thread):
    """Writes a transcript, line by line, until it is over."""

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self.transcript = Transcript()
        self.path = session_path(home, self.transcript)
        self.said: list[str] = []
        self.is_over = Event()

    def run(self) -> None:
        while not self.is_over.wait(0.005):
            text = f"line {len(self.said)}"
            self.transcript.prompt(text)
            append(self.path, self.transcript.bytes()[-self._last_bytes() :])
            self.said.append(text)

    def _last_bytes(self) -> int:
        whole = self.transcript.bytes()
        return len(whole) - len(self.transcript.bytes(len(self.transcript.records) - 1))


def kill_victims(server: Server, victim: str) -> None:
    """Kill all that do one thing at once, and wait until they are gone."""
    victims = {
        "workers": lambda: workers_of(server),
        "watcher": lambda: [watcher_of(server.home)],
        "all": lambda: tree_of(server.process.pid),
    }[victim]()
    for pid in victims:
        kill(pid, signal.SIGKILL)
    if victim == "all":
        server.process.wait()
    wait_for(lambda: not any(map(is_running, victims)), what="their end")


@pytest.mark.parametrize(("victim", "rounds"), [("workers", 4), ("watcher", 2)])
def test_nothing_promised_is_lost(tmp_path, victim, rounds):
    home = Home(tmp_path)
    speaker = Speaker(home)
    with serving(home, WEB_WORKERS="2") as server:
        watcher_of(home)
        speaker.start()
        with writing_clients(server) as writers:
            for number in range(1, rounds + 1):
                wait_for(partial(writers.have_promised, 40 * number), what="writes to go on")
                kill_victims(server, victim)
        speaker.is_over.set()
        speaker.join()
        wait_for(
            lambda: texts(home, session=speaker.transcript.session_id) == speaker.said,
            what="all that was said",
        )
        assert set(writers.statuses) <= {201, 409, 503}
        assert server.stop() == 0
    check_kept(home, writers.promised)


def test_nothing_promised_is_lost_when_all_are_killed(tmp_path):
    home = Home(tmp_path)
    speaker = Speaker(home)
    speaker.start()
    promised: list[str] = []
    for number in range(2):
        with ExitStack() as stack:
            server = stack.enter_context(serving(home, WEB_WORKERS="2"))
            watcher_of(home)
            with writing_clients(server, prefix=f"{number}-") as writers:
                wait_for(lambda: len(writers.promised) > 100, what="writes")
                kill_victims(server, "all")
            promised += writers.promised
    speaker.is_over.set()
    speaker.join()
    with watching(home):
        wait_for(
            lambda: texts(home, session=speaker.transcript.session_id) == speaker.said,
            what="all that was said",
        )
    check_kept(home, promised)
