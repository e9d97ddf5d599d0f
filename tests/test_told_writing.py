"""Whatever is written, and whoever dies: who listens is told each event exactly once.

Transcripts are written as in ingest/test_watched_writing.py, beside a server whose workers and
watcher are killed now and then. A stream and a WebSocket come again and go on behind the last event
that they saw. When all is quiet, each has seen every event of the archive once, in order, and the
archive says what the final files say.

With EXPLORE=1 each run is another one, and longer; SEED and STEPS choose one.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

from wsproto.events import CloseConnection
from wsproto.utilities import RemoteProtocolError

from observatory.store.database import close, configure, connect
from tests.listening import Listener, WebSocketClient
from tests.processes import Home, Server, serving, wait_for
from tests.written_files import EXPLORES, chances, compare, is_all_read, make_files

STEPS = int(os.environ.get("STEPS", "2000" if EXPLORES else "150"))


class Follower(threading.Thread):
    """Follows what is told, comes again when it is cut off, and keeps what it saw."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.seen: list[int] = []
        self.notices: list[str] = []
        self.times_connected = 0
        self.is_over = False

    @property
    def position(self) -> int:
        """The last event that it saw."""
        return self.seen[-1] if self.seen else 0

    def run(self) -> None:
        """Listen until it is over."""
        while not self.is_over:
            try:
                self.listen()
            except (OSError, AssertionError, ValueError, RemoteProtocolError):
                time.sleep(0.02)

    def listen(self) -> None:
        """Listen as long as the connection holds."""
        raise NotImplementedError

    def note(self, event: dict) -> None:
        """Keep an event, or a word of the stream itself."""
        if "id" in event and "created_at" in event:
            self.seen.append(event["id"])
        else:
            self.notices.append(event["type"])


class StreamFollower(Follower):
    def listen(self) -> None:
        with Listener(self.server, "?after=0", **{"Last-Event-ID": str(self.position)}) as stream:
            assert stream.status == 200
            self.times_connected += 1
            while (event := stream.next()) is not None:
                self.note(event)


class SocketFollower(Follower):
    def listen(self) -> None:
        with WebSocketClient(self.server) as client:
            client.send({"type": "subscribe", "after": self.position})
            self.times_connected += 1
            while not isinstance(message := client.next(), CloseConnection):
                self.note(message)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_some(server: Server, chance: random.Random, *, kind: str) -> None:
    """End all workers of a server or its watcher, gently or not."""
    watchers, workers = [], []
    for child in children(server.process.pid):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"supervise" in command:
            watchers += children(child)
        else:
            workers.append(child)
    for pid in watchers if kind == "watcher" else workers:
        os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGTERM]))


def all_ids(server: Server) -> list[int]:
    found: list[int] = []
    after, has_more = 0, True
    while has_more:
        page = server.data(f"/api/events?after={after}&limit=500")
        found += [event["id"] for event in page["events"]]
        after, has_more = page["next_after"], page["has_more"]
    return found


def test_who_listens_is_told_each_event_once(tmp_path: Path) -> None:
    home, chance = Home(tmp_path / "home"), chances()
    home.folder.mkdir()
    files = make_files(home, chance, number=5)
    with serving(home, WEB_WORKERS="2") as server:
        followers = [StreamFollower(server), SocketFollower(server)]
        for follower in followers:
            follower.start()
        wait_for(lambda: all(each.times_connected for each in followers), what="both to listen")
        kinds = itertools.cycle(["workers", "watcher"])
        for step in range(STEPS):
            chance.choice(files).step()
            time.sleep(chance.uniform(0, 0.02))
            if step % (STEPS // 6) == STEPS // 12:
                kill_some(server, chance, kind=next(kinds))
        for file in files:
            file.finish()
        configure(home.database)
        connect()
        try:
            wait_for(lambda: is_all_read(home, files), what="all to be read")
        finally:
            close()
        server.post("/api/conversations", {"title": "the last"})
        expected = all_ids(server)
        for follower in followers:
            wait_for(
                lambda follower=follower: follower.position >= expected[-1],
                what=f"{type(follower).__name__} to see the last event",
            )
            follower.is_over = True
            assert follower.seen == sorted(set(follower.seen)), "told twice, or out of order"
            assert set(expected) <= set(follower.seen), json.dumps(
                sorted(set(expected) - set(follower.seen))[:20]
            )
            # What was seen and is not there any more was taken back meanwhile.
            assert len(set(follower.seen) - set(expected)) <= len(expected) // 20
            assert follower.times_connected > 1
        server.stop()
    compare(home, files, tmp_path / "clean" / "observatory.db")
