"""Readings that were asked for, by one thread of this process beside its requests.

What waits is marked ``pending`` in the database, so nothing is lost when the process ends: the next
ingest reads it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from observatory.errors import LockHeld
from observatory.ingest.discover import locate, modified_at
from observatory.ingest.running import ingest
from observatory.ingest.turns import INGEST_LOCK, is_watcher_waiting
from observatory.log import log
from observatory.store import transcript_files as files
from observatory.store.database import DatabaseError, close, connect, database, is_busy
from observatory.store.locks import held
from observatory.transcripts.layout import read_path

_LATER_WAIT_SECONDS = 600.0
_TRY_SECONDS = 0.5
_GIVING_WAY_SECONDS = 0.05


def note(path: str) -> int:
    """Mark a file as waiting and return its key.

    Raises:
        OSError: It is not there.
    """
    status = os.stat(locate(path))
    return files.mark_pending(
        path,
        {
            "filename": path.rsplit("/", 1)[-1],
            "role": read_path(path).role,
            "size": status.st_size,
            "last_modified": modified_at(status.st_mtime_ns),
        },
    )


class Jobs:
    """Reads files in a thread that begins with the first one and ends when none waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Event] = {}
        self._thread: threading.Thread | None = None

    def submit(self, path: str) -> threading.Event:
        """Have a file read soon and return what is set when that is over, however it ended.

        A file that waits already is read once.
        """
        with self._lock:
            done = self._waiting.setdefault(path, threading.Event())
            if self._thread is None:
                # No daemon: at the end of the process it stops after the batch at hand.
                self._thread = threading.Thread(target=self._run, name="reading")
                self._thread.start()
            return done

    def join(self) -> None:
        """Return when nothing waits."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                if not waiting or _is_process_ending():
                    self._thread = None
                    return
            try:
                _read(list(waiting))
            finally:
                for done in waiting.values():
                    done.set()


def _is_process_ending() -> bool:
    return not threading.main_thread().is_alive()


def _should_give_way() -> bool:
    return _is_process_ending() or is_watcher_waiting(database.database)


def _read(paths: list[str]) -> None:
    try:
        connect()
        _read_in_turn(paths)
        for path in paths:
            if not os.path.exists(locate(path)) and files.find_state(path) is not None:
                files.record_failure(path, "The file is gone; what was read of it stays.")
    except LockHeld as error:
        log.warning("reading_put_off", files=len(paths), reason=str(error))
    except Exception as error:
        log.error("reading_failed", files=len(paths), exc_info=error)
        if not (isinstance(error, DatabaseError) and is_busy(error)):
            with suppress(DatabaseError):
                _record_failures(paths)
    finally:
        close()


def _read_in_turn(paths: list[str]) -> None:
    """Read files once no other ingest runs, unless the process ends before.

    Whenever the watcher waits, it is let in after the batch at hand.

    Raises:
        LockHeld: The other one runs on and on.
    """
    deadline = time.monotonic() + _LATER_WAIT_SECONDS
    while not _is_process_ending():
        try:
            with held(database.database, INGEST_LOCK, wait_seconds=_TRY_SECONDS):
                summary = ingest([locate(path) for path in paths], should_stop=_should_give_way)
                if summary.is_complete:
                    return
            deadline = time.monotonic() + _LATER_WAIT_SECONDS
            # The watcher, which waits for its turn, has it now.
            while is_watcher_waiting(database.database) and not _is_process_ending():
                time.sleep(_GIVING_WAY_SECONDS)
        except LockHeld:
            if time.monotonic() > deadline:
                raise


def _record_failures(paths: list[str]) -> None:
    for path in paths:
        state = files.find_state(path)
        if state is not None and state.status != "completed":
            files.record_failure(path, "It could not be read; the log tells why.")


jobs = Jobs()
