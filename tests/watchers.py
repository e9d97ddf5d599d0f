"""A real ``observatory watch`` as a process, and what the archive that it keeps holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.watcher_status import WatcherStatus, read_watcher_status
from tests.processes import DEADLINE_SECONDS, Home, wait_for
from tests.transcripts_for_tests import Transcript


@dataclass(slots=True)
class Watcher:
    """A running watcher; ``log`` is the file that its standard error goes to."""

    process: subprocess.Popen[bytes]
    home: Home
    log: Path

    @property
    def status(self) -> WatcherStatus:
        """What it says of itself."""
        return read_watcher_status(self.home.database)

    def is_caught_up(self) -> bool:
        """Tell whether it has read all that was there; it must not have ended."""
        assert self.process.poll() is None, self.log.read_text()
        status = self.status
        return (status.state, status.pid) == ("running", self.process.pid)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=DEADLINE_SECONDS)


def start_watcher(home: Home, *, stream: IO[bytes] | None = None, **variables: str) -> Watcher:
    """Start a watcher, which writes to the end of a log, or to another stream."""
    log = home.folder / "watch.log"
    with log.open("ab") as own:
        process = subprocess.Popen(
            [sys.executable, "-m", "observatory", "watch"],
            cwd=home.folder,
            env=home.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=stream or own,
            stderr=stream or own,
        )
    return Watcher(process, home, log)


@contextmanager
def watching(home: Home, **variables: str) -> Iterator[Watcher]:
    """Run a watcher that has caught up while a block runs."""
    watcher = start_watcher(home, **variables)
    try:
        wait_for(watcher.is_caught_up, what="the watcher to catch up")
        yield watcher
    finally:
        if watcher.process.poll() is None:
            watcher.process.kill()
            watcher.process.wait()


def rows(home: Home, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, over a connection of its own."""
    configure(home.database)
    connect()
    try:
        return fetch_all(sql, parameters)
    finally:
        close()


def texts(home: Home, *, session: str | None = None) -> list[str]:
    """Return what was said and stands in a file still, in order."""
    return [
        row[0]
        for row in rows(
            home,
            "SELECT m.content FROM messages m JOIN conversations c ON c.key = m.conversation_key"
            " WHERE NOT m.is_superseded AND (?1 IS NULL OR c.id = ?1) ORDER BY c.id, m.position",
            session,
        )
    ]


def are_found(home: Home, word: str) -> int:
    """Return how many messages the search index finds by a word."""
    found = rows(home, "SELECT count(*) FROM message_search WHERE message_search MATCH ?", word)
    return int(found[0][0])


def wait_for_texts(home: Home, *expected: str, session: str | None = None) -> None:
    """Wait until these are what was said."""
    try:
        wait_for(
            lambda: texts(home, session=session) == list(expected), what=f"the texts {expected}"
        )
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {texts(home, session=session)}") from None


def wait_for_failure(watcher: Watcher, word: str) -> None:
    """Wait until the log of a watcher has a word."""
    wait_for(lambda: word in watcher.log.read_text(), what=f"{word} in the log")


def session_path(home: Home, transcript: Transcript) -> Path:
    """Return where a session's transcript lies, in a folder that is made when it is missing."""
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def append(path: Path, data: bytes) -> None:
    """Write to the end of a file, at once."""
    with path.open("ab") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
