"""The watcher: follows folders of transcripts and reads what is new, until it is told to end.

One thread for each folder notices changes (changes.py); the main thread reads, writes and indexes.
Lines that were just written are read first. What else there is to read, at the start or after many
files came at once, is read in slices between them, oldest file first.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

from observatory.errors import DatabaseReplaced, SchemaError
from observatory.ingest.backlog import Backlog
from observatory.ingest.beside import Chore, Companion, LongChore, start
from observatory.ingest.changes import Changes, FolderWatch
from observatory.ingest.chore_times import ChoreTimes
from observatory.ingest.discover import FoundFile, find_file, find_files, locate, look_again
from observatory.ingest.reading import has_other_tail, is_unchanged
from observatory.ingest.running import RunSummary, ingest_files, mend_interrupted
from observatory.ingest.sidecars import take_late_agent_types
from observatory.ingest.turns import Stopped, watchers_turn
from observatory.ingest.uploads import is_upload, stored_uploads
from observatory.log import log
from observatory.memory import return_free_memory
from observatory.metrics import WATCHER_FAILURES, keep_samples
from observatory.store.database import (
    DatabaseError,
    check_files,
    describe_failure,
    give_back_memory,
    read_schema_version,
    waiting_at_most,
)
from observatory.store.schema import check_current
from observatory.store.transcript_files import (
    FileState,
    find_state,
    find_waiting_paths,
    read_states,
)
from observatory.store.watcher_status import Kept, WatcherStatus, write_watcher_status
from observatory.timestamps import now

# How long rows are written before what was written is indexed and fresh lines are looked for.
_SLICE_SECONDS = 0.4
_FRESH_SECONDS = 1.0
# A changed file with more to read than this waits with the others: it would hold up live lines.
_LIVE_BYTES = 4 * 1024 * 1024
# After so long the lock is left for a moment, for others who look for it every 50 ms.
_TURN_SECONDS = 5.0
_PAUSE_SECONDS = 0.12
# From so many on, all states are read at once.
_MANY_FILES = 200
_SWEEP_SECONDS = 60.0
# An upload is first its receiver's to read.
_UPLOAD_AGE_SECONDS = 60.0
_TORN_SECONDS = 0.05
_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 600.0
_FIRST_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 30.0
_STATUS_SECONDS = 1.0
# Longest wait, which is how soon a signal is obeyed.
_TICK_SECONDS = 0.5
# Another writer is waited for that long; then there is time to look at signals.
_BUSY_MS = 1000
# Enough for live lines; while it catches up the watcher has a larger one.
_CACHE_MIB = 4
# Two changes within one tick of a file system's clock, 10 ms at most, can look the same.
_RECENT_NS = 1_000_000_000
_JOIN_SECONDS = 2.0


def watch(
    paths: Sequence[str],
    *,
    database_path: Path,
    mode: str = "auto",
    should_stop: Callable[[], bool],
    chores: Sequence[Chore | LongChore] = (),
    companions: Sequence[Companion] = (),
) -> None:
    """Follow folders and files until ``should_stop`` turns true.

    The caller holds the lock ``watch`` and has connected this thread to the database.

    Args:
        paths: Folders and files; they need not be there yet.
        database_path: The database, beside which the status lies.
        mode: How changes are noticed: ``auto``, ``events`` or ``polling``.
        should_stop: Asked at least every half second, and after each batch.
        chores: What is done between readings.
        companions: Threads that run as long as this does.

    Raises:
        DatabaseReplaced: The file of the database is another one than at the start.
        SchemaError: The schema is not that of this code any more: a newer version migrated it.
    """
    stop = threading.Event()
    changes = Changes()
    watches = [
        FolderWatch(path, paths=paths, mode=mode, changes=changes, stop=stop) for path in paths
    ]
    threads = [start(companion, stop) for companion in companions]
    for each in watches:
        each.start()
    watcher = _Watcher(paths, database_path, changes, watches, should_stop, chores)
    try:
        watcher.run()
    finally:
        stop.set()
        for thread in [*watches, *threads]:
            thread.join(_JOIN_SECONDS)
        watcher.end()


class _Watcher:
    """What the main thread knows and does."""

    def __init__(
        self,
        paths: Sequence[str],
        database_path: Path,
        changes: Changes,
        watches: Sequence[FolderWatch],
        should_stop: Callable[[], bool],
        chores: Sequence[Chore | LongChore],
    ) -> None:
        self._paths = paths
        self._database_path = database_path
        self._schema_version: int | None = None
        self._changes = changes
        self._watches = watches
        self._should_stop = should_stop
        self._chores = ChoreTimes(chores)
        self._backlog = Backlog()
        # Places to look at again, and when.
        self._later: dict[str, float] = {}
        self._retries: dict[str, float] = {}
        # Places that could not be looked at, or their files not be read, when it was tried last.
        self._untaken: set[str] = set()
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS
        self._is_failing = False
        self._is_mended = False
        self._next_sweep = 0.0
        self._turn_began = time.monotonic()
        self._began = time.monotonic()
        self._read = RunSummary()
        self._status = WatcherStatus(
            state="catching_up", pid=os.getpid(), host=socket.gethostname(), started_at=now()
        )
        self._written: WatcherStatus | None = None
        self._counts: dict[str, list[Kept]] = {}
        self._written_at = -_STATUS_SECONDS

    def run(self) -> None:
        """Read and wait in turn until it is time to end. What fails is tried again, later."""
        self._write_status()
        log.info("watch_started", folders=[os.fspath(path) for path in self._paths])
        while not self._should_stop():
            try:
                self._step()
                self._backoff_seconds = _FIRST_BACKOFF_SECONDS
                self._is_failing = False
            except Stopped:
                return
            except (DatabaseReplaced, SchemaError):
                raise
            except Exception as error:
                self._back_off(error)
            self._write_status()

    def end(self) -> None:
        """Tell that this is over."""
        self._update(state="stopped")
        self._write_status(at_once=True)
        log.info("watch_stopped", files=self._read.files, lines=self._read.lines)

    def _step(self) -> None:
        self._check_database()
        if not self._is_mended:
            self._mend()
        self._look_around()
        if not self._backlog.files:
            self._changes.wait(self._wait_seconds())
        places, found = self._changes.take()
        try:
            if found:
                self._backlog.add(self._changed(found))
                self._take_sidecars(found)
                found = []
            if not self._untaken.issuperset(places):
                self._update(last_change_at=now())
            places += self._due_later()
            if places:
                self._read_fresh(places)
            self._untaken.clear()
        except BaseException:
            # They are no news when they come again: what waits has waited since then.
            self._untaken.update(places)
            self._changes.note(places)
            self._changes.note_found(found)
            raise
        if self._backlog.files:
            self._read_slice()
        self._do_chores()
        self._note_caught_up()

    def _check_database(self) -> None:
        """Write nothing more to a file that nobody opens again, or in a way that is out of date."""
        check_files()
        version = read_schema_version()
        if version != self._schema_version:
            check_current()
            self._schema_version = version

    # Noticing

    def _look_around(self) -> None:
        """Look now and then for what no folder tells: uploads, and files that others want read."""
        if time.monotonic() < self._next_sweep:
            return
        is_first = not self._next_sweep
        if not is_first:
            self._mend()
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS
        uploads = find_files(stored_uploads(self._database_path))
        if not is_first:
            newest = time.time_ns() - _UPLOAD_AGE_SECONDS * 1e9
            uploads = [file for file in uploads if file.changed_ns < newest]
        wanted = [self._find(locate(path)) for path in find_waiting_paths()]
        self._backlog.add(self._changed([*uploads, *(file for file in wanted if file is not None)]))

    def _find(self, place: str) -> FoundFile | None:
        file = find_file(place, self._paths)
        if file is None and is_upload(place, database_path=self._database_path):
            return find_file(place, [place])
        return file

    def _due_later(self) -> list[str]:
        due = [place for place, when in self._later.items() if when <= time.monotonic()]
        for place in due:
            del self._later[place]
        return due

    def _wait_seconds(self) -> float:
        moments = [self._next_sweep, *self._later.values(), *self._chores.moments()]
        if self._status != self._written:
            moments.append(self._written_at + _STATUS_SECONDS)
        return max(0.0, min(_TICK_SECONDS, min(moments) - time.monotonic()))

    # Reading

    def _turn(self) -> AbstractContextManager[None]:
        return watchers_turn(self._database_path, should_stop=self._should_stop)

    def _changed(self, files: Sequence[FoundFile]) -> list[tuple[FoundFile, FileState | None]]:
        """Return which of some files were not read to their end as they are, with their states."""
        find: Callable[[str], FileState | None]
        find = read_states().get if len(files) > _MANY_FILES else find_state
        states = ((file, find(file.path)) for file in files)
        return [(file, state) for file, state in states if not is_unchanged(file, state)]

    def _read_fresh(self, places: Sequence[str]) -> None:
        """Read files that have just changed; what is much of them is left for slices."""
        fresh: dict[str, tuple[FoundFile, FileState | None]] = {}
        large: list[tuple[FoundFile, FileState | None]] = []
        unchanged: list[FoundFile] = []
        for place in places:
            file = self._find(place)
            if file is None or file.path in fresh:
                continue
            state = find_state(file.path)
            if is_unchanged(file, state) and not _is_suspicious(file, state):
                unchanged.append(file)
                continue
            read = state.byte_offset if state is not None and not state.is_reread else 0
            if file.size - read > _LIVE_BYTES:
                large.append((file, state))
            else:
                fresh[file.path] = file, state
                self._backlog.drop(file.path)
        self._backlog.add(large, are_fresh=True)
        self._take_sidecars(unchanged)
        if not fresh:
            return
        until = time.monotonic() + _FRESH_SECONDS
        try:
            summary = self._ingest(
                sorted((file for file, _ in fresh.values()), key=lambda f: (f.modified_ns, f.path)),
                {path: state for path, (_, state) in fresh.items() if state is not None},
                should_end=lambda: time.monotonic() > until,
            )
        except BaseException:
            self._backlog.add(list(fresh.values()), are_fresh=True)
            raise
        if not summary.is_complete:
            done = summary.ended | summary.failed
            self._backlog.add([each for path, each in fresh.items() if path not in done])

    def _take_sidecars(self, files: Sequence[FoundFile]) -> None:
        """Look beside transcripts that have nothing new themselves."""
        described = [file for file in files if file.has_sidecar]
        if described:
            with self._turn(), waiting_at_most(_BUSY_MS):
                take_late_agent_types(described)

    def _read_slice(self) -> None:
        """Read some of what can wait."""
        files = self._backlog.first()
        current = {file.path: look_again(file) for file in files}
        changed = self._changed([file for file in current.values() if file is not None])
        until = time.monotonic() + _SLICE_SECONDS
        summary = self._ingest(
            [file for file, _ in changed],
            {file.path: state for file, state in changed if state is not None},
            should_end=lambda: time.monotonic() > until,
        )
        left: set[str] = set()
        if not summary.is_complete:
            left = {file.path for file, _ in changed} - summary.ended - summary.failed
        for file in files:
            if file.path not in left:
                self._backlog.drop(file.path)
        self._status_waiting()
        if time.monotonic() - self._turn_began > _TURN_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            self._turn_began = time.monotonic()

    def _ingest(
        self,
        files: Sequence[FoundFile],
        states: dict[str, FileState],
        *,
        should_end: Callable[[], bool],
    ) -> RunSummary:
        with self._turn(), waiting_at_most(_BUSY_MS):
            summary = ingest_files(
                files, states=states, should_stop=self._should_stop, should_end=should_end
            )
        by_path = {file.path: file.location for file in files}
        for path in summary.torn:
            self._later[by_path[path]] = time.monotonic() + _TORN_SECONDS
        for path in summary.failed & by_path.keys():
            delay = self._retries.get(path, _FIRST_RETRY_SECONDS)
            self._retries[path] = min(delay * 2, _LONGEST_RETRY_SECONDS)
            self._later[by_path[path]] = time.monotonic() + delay
        for path in summary.ended:
            self._retries.pop(path, None)
        self._read.files += summary.files
        self._read.lines += summary.lines
        self._read.bytes += summary.bytes
        if summary.files:
            self._update(last_read_at=now())
        return summary

    def _mend(self) -> None:
        """End what other processes left half done, and index what they did not."""
        with self._turn(), waiting_at_most(_BUSY_MS):
            mend_interrupted(should_stop=self._should_stop)
            ingest_files([], states={}, should_stop=self._should_stop)
        self._is_mended = True

    def _do_chores(self) -> None:
        for chore in self._chores.due():
            if self._should_stop():
                return
            began = time.monotonic()
            try:
                with waiting_at_most(_BUSY_MS):
                    outcome = chore.do(self._should_give_way)
            except Exception as error:
                log.error("chore_failed", name=chore.name, exc_info=error)
                reason = f"{chore.name}: {_reason(error)}"
                self._update(last_failure=reason, last_failure_at=now())
                outcome = self._chores.note_failure(chore, error)
            else:
                self._chores.note_success(chore, outcome)
            self._chores.keep(chore, outcome, seconds=time.monotonic() - began)

    def _should_give_way(self) -> bool:
        """Tell whether there is something to read, or it is time to end."""
        return (
            self._status.state == "catching_up"
            or bool(self._backlog.files)
            or self._changes.has_places()
            or self._should_stop()
        )

    # Telling

    def _back_off(self, error: Exception) -> None:
        """Log a failure, and wait before the next try, longer each time."""
        seconds = self._backoff_seconds
        self._backoff_seconds = min(2 * seconds, _LONGEST_BACKOFF_SECONDS)
        self._is_failing = True
        reason = _reason(error)
        WATCHER_FAILURES.inc()
        log.error("watch_failed", retry_seconds=seconds, reason=reason, exc_info=error)
        self._update(last_failure=reason, last_failure_at=now())
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._should_stop():
            self._write_status()
            time.sleep(min(_TICK_SECONDS, seconds))

    def _note_caught_up(self) -> None:
        if (
            self._status.state == "catching_up"
            and not self._backlog.files
            and not self._changes.has_places()
            and all(each.is_ready.is_set() for each in self._watches)
        ):
            self._update(state="running")
            give_back_memory(cache_mib=_CACHE_MIB)
            return_free_memory()
            log.info(
                "watch_caught_up",
                folders={each.status.path: each.status.mode for each in self._watches},
                known_files=sum(each.status.files for each in self._watches),
                files=self._read.files,
                lines=self._read.lines,
                bytes=self._read.bytes,
                seconds=round(time.monotonic() - self._began, 3),
            )

    def _update(self, **fields: str | None) -> None:
        self._status = replace(self._status, **fields)  # type: ignore[arg-type]

    def _status_waiting(self) -> None:
        folders = tuple(each.status for each in self._watches)
        self._status = replace(
            self._status,
            folders=folders,
            files=sum(folder.files for folder in folders),
            waiting_files=self._count_waiting(),
            waiting_bytes=self._backlog.unread_bytes(),
        )

    def _count_waiting(self) -> int:
        """Return in how many files something waits."""
        if not self._is_failing:
            return len(self._backlog.files) + len(self._later)
        # What comes now is not even looked at.
        known = {file.location for file, _ in self._backlog.files.values()}
        return len(known | self._later.keys() | set(self._changes.places()))

    def _write_status(self, *, at_once: bool = False) -> None:
        """Write the status when it changed, and not too often."""
        if time.monotonic() < self._written_at + _STATUS_SECONDS and not at_once:
            return
        self._status_waiting()
        counts = keep_samples()
        if self._status == self._written and counts == self._counts:
            return
        with suppress(OSError):
            # On a full disk there is more to worry about, and it is told elsewhere.
            write_watcher_status(self._database_path, self._status, counts=counts)
        self._written, self._written_at = self._status, time.monotonic()
        self._counts = counts


def _reason(error: Exception) -> str:
    """Say why something failed, in words that name no content."""
    if isinstance(error, DatabaseError):
        return describe_failure(error)
    # Of a file its name may be a secret of its own; what the system says of it is not.
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _is_suspicious(file: FoundFile, state: FileState | None) -> bool:
    """Tell whether a file that changed, and looks unchanged, did so since it was read."""
    if state is None or time.time_ns() - file.changed_ns > _RECENT_NS:
        return False
    try:
        return has_other_tail(file, state)
    except OSError:
        return False
