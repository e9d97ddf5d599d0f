"""How changes in folders of transcripts are noticed: one thread for each folder that is named.

Where the system tells of changes it is believed at once, and the folder is looked through now and
then for what it left out; elsewhere the folder is looked through again and again. What was noticed
is only a place to look at: what is new there is decided by whoever reads (watching.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence

# The documented backend of watchfiles: unlike `watch` it says when it has begun to listen.
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from observatory.ingest.discover import (
    SIDECAR_SUFFIX,
    SUFFIX,
    FoundFile,
    find_file,
    find_files,
    locate_given,
    text_path,
)
from observatory.ingest.mounts import choose_mode
from observatory.log import log
from observatory.store.watcher_status import FolderStatus

# Changes are told when none came for one step, or after the debounce. Each step wakes the thread
# up, which costs 0.3 % of a core at 20 ms; a change is told after two.
STEP_MS = 20
_DEBOUNCE_MS = 50
_LISTEN_MS = 500
# How often all of a folder is looked through although the system tells of changes.
_RESCAN_SECONDS = 60.0
# A new folder is looked through twice: what is put in it before the system begins to tell of that.
_SECOND_LOOK_SECONDS = 0.3
_MISSING_SECONDS = 0.25
# The share of a core that looking through a folder again and again may take.
_POLLING_SHARE = 0.003
_LEAST_POLLING_SECONDS = 0.2
_LONGEST_POLLING_SECONDS = 60.0
# Files that changed last are looked at oftener than all: those are the ones that go on.
_HOT_FILES = 50
# A folder with more changes than that was not seen before, so to say: it can wait for live lines.
_FEW_FILES = 50
_MAX_ERRORS = 3


class Changes:
    """What was noticed and is not read yet; filled by threads, emptied by one reader."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._places: dict[str, None] = {}
        self._found: list[FoundFile] = []
        self._is_told = False

    def note(self, places: Iterable[str]) -> None:
        """Add places where a file has just changed."""
        with self._condition:
            self._places.update(dict.fromkeys(places))
            self._condition.notify_all()

    def note_found(self, files: Iterable[FoundFile]) -> None:
        """Add files that may not have been read; they can wait."""
        with self._condition:
            self._found.extend(files)
            self._condition.notify_all()

    def tell(self) -> None:
        """End the wait of the reader although nothing is to be read."""
        with self._condition:
            self._is_told = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        """Return when something was noticed, or after so many seconds."""
        with self._condition:
            if not (self._places or self._found or self._is_told):
                self._condition.wait(seconds)
            self._is_told = False

    def has_places(self) -> bool:
        """Tell whether a file has just changed."""
        return bool(self._places)

    def places(self) -> list[str]:
        """Return the places where a file has just changed."""
        with self._condition:
            return list(self._places)

    def take(self) -> tuple[list[str], list[FoundFile]]:
        """Return the places and the files that were noticed, and forget them."""
        with self._condition:
            places, found = list(self._places), self._found
            self._places, self._found = {}, []
        return places, found


_Signature = tuple[int, int, int, int, int, bool]


class FolderWatch(threading.Thread):
    """Notices what changes below one folder, or in one file, until it is stopped.

    The folder may come, go, and come back as another one.
    """

    def __init__(
        self,
        path: str,
        *,
        paths: Sequence[str],
        mode: str,
        changes: Changes,
        stop: threading.Event,
    ) -> None:
        """Prepare to watch ``path``, one of ``paths``, noticing as ``WATCH_MODE`` says."""
        super().__init__(name=f"watch {text_path(path)}", daemon=True)
        self._path = path
        self._paths = paths
        self._root = os.path.abspath(locate_given(path))
        self._mode = mode
        self._changes = changes
        self._stop_event = stop
        self._step_ms = min(STEP_MS * len(paths), 3 * STEP_MS)
        self._seen: dict[str, _Signature] = {}
        self._hot: dict[str, tuple[int, int, int]] = {}
        self._second_looks: dict[str, float] = {}
        self._problems: set[str] = set()
        # By the monotonic clock; 0 where nothing stands against being told by the system.
        self._polls_until = 0.0
        self._shown = "missing"
        self.is_ready = threading.Event()

    @property
    def status(self) -> FolderStatus:
        """What is watched, and how."""
        return FolderStatus(text_path(self._root), self._shown, len(self._seen))

    def run(self) -> None:
        """Watch until the stop event is set; a failure of its own is logged, and it goes on."""
        errors = 0
        while not self._stop_event.is_set():
            try:
                if not self._identity():
                    self._show("missing")
                    self.is_ready.set()
                    self._stop_event.wait(_MISSING_SECONDS)
                elif self._may_follow():
                    self._follow()
                else:
                    self._poll()
            except FileNotFoundError:
                continue
            except PermissionError as error:
                # Of the folders behind one that may not be looked at nothing would be told.
                if not self._polls_until:
                    log.warning("watch_polling", folder=text_path(self._root), exc_info=error)
                self._polls_until = time.monotonic() + _RESCAN_SECONDS
            except (OSError, UnicodeEncodeError, WatchfilesRustInternalError) as error:
                errors += 1
                # Names that are no UTF-8 can not be told of; limits of the system stay reached.
                if not isinstance(error, WatchfilesRustInternalError) or errors >= _MAX_ERRORS:
                    self._mode = "polling"
                    log.warning("watch_polling", folder=text_path(self._root), exc_info=error)
            except Exception as error:
                log.error("watch_failed", folder=text_path(self._root), exc_info=error)
                self._stop_event.wait(1)

    def _may_follow(self) -> bool:
        """Tell whether the system may tell what changes."""
        is_time = time.monotonic() >= self._polls_until
        return is_time and choose_mode(self._root, mode=self._mode) == "events"

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the folder from another one of its name; ``None`` if it is gone."""
        try:
            status = os.stat(self._root)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _show(self, mode: str) -> None:
        if self._shown != mode:
            self._shown = mode
            self._changes.tell()

    def _follow(self) -> None:
        """Let the system tell what changes, until the folder is another one or gone."""
        identity = self._identity()
        with RustNotify([self._root], False, False, 0, True, False) as notify:
            self._polls_until = 0.0
            self._scan()
            self._show("events")
            self.is_ready.set()
            next_scan = time.monotonic() + _RESCAN_SECONDS
            while not self._stop_event.is_set() and self._identity() == identity:
                told = notify.watch(_DEBOUNCE_MS, self._step_ms, _LISTEN_MS, self._stop_event)
                if isinstance(told, set):
                    self._take_events({path for _, path in told})
                self._look_twice()
                if time.monotonic() >= next_scan:
                    self._scan()
                    next_scan = time.monotonic() + _RESCAN_SECONDS

    def _take_events(self, paths: set[str]) -> None:
        places = set()
        for path in paths:
            if path.endswith(SIDECAR_SUFFIX):
                places.add(path.removesuffix(SIDECAR_SUFFIX) + SUFFIX)
            elif os.path.isdir(path):
                self._scan(path)
                self._second_looks[path] = time.monotonic() + _SECOND_LOOK_SECONDS
            elif path.endswith(SUFFIX):
                places.add(path)
            elif os.path.isfile(self._root):
                places.add(self._root)
        if places:
            self._changes.note(places)

    def _look_twice(self) -> None:
        for folder, due in list(self._second_looks.items()):
            if time.monotonic() >= due:
                del self._second_looks[folder]
                self._scan(folder)

    def _poll(self) -> None:
        """Look again and again what has changed, until the folder is another one or gone.

        Or until it is time to try once more whether the system tells of changes.
        """
        identity = self._identity()
        while not self._stop_event.is_set() and self._identity() == identity:
            if self._polls_until and self._may_follow():
                return
            began = time.thread_time()
            self._scan()
            cost = time.thread_time() - began
            self._show("polling")
            self.is_ready.set()
            pause = max(_LEAST_POLLING_SECONDS, cost / _POLLING_SHARE)
            until = time.monotonic() + min(pause, _LONGEST_POLLING_SECONDS)
            hot = sorted(self._seen, key=lambda place: self._seen[place][1])[-_HOT_FILES:]
            self._hot = {place: self._seen[place][:3] for place in hot}
            while (left := until - time.monotonic()) > 0:
                if self._stop_event.wait(min(_LEAST_POLLING_SECONDS, left)):
                    return
                self._look_at(hot)
                if not os.path.exists(self._root):
                    return

    def _look_at(self, places: Iterable[str]) -> None:
        """Note which of some files look other than when they were seen last."""
        changed = []
        for place in places:
            # No more than one call for each: this is done often.
            try:
                status = os.stat(place)
            except OSError:
                continue
            now = status.st_size, status.st_mtime_ns, status.st_ctime_ns
            if self._hot.get(place) != now:
                self._hot[place] = now
                changed.append(place)
        if changed:
            self._changes.note(changed)

    def _scan(self, folder: str | None = None) -> None:
        """Note which files look other than when they were seen last, in all or in one folder."""
        place = self._path
        if folder is not None:
            real, real_root = os.path.realpath(folder), os.path.realpath(self._root)
            if not real.startswith(os.path.join(real_root, "")):
                return  # A link led there.
            place = self._root + real.removeprefix(real_root)
        found = find_files([place], on_problem=self._note_problem)
        changed = [file for file in found if self._seen.get(file.location) != _signature(file)]
        if folder is None:
            self._seen = {}
        self._seen.update((file.location, _signature(file)) for file in found)
        if len(changed) <= _FEW_FILES:
            if changed:
                self._changes.note(file.location for file in changed)
        elif self._is_apart():
            self._changes.note_found(changed)
        else:
            named = (find_file(file.location, self._paths) for file in changed)
            self._changes.note_found(file for file in named if file is not None)

    def _is_apart(self) -> bool:
        """Tell whether no folder that is named before this one lies in it or around it."""
        real = os.path.join(os.path.realpath(self._root), "")
        for path in self._paths[: self._paths.index(self._path)]:
            other = os.path.join(os.path.realpath(os.path.abspath(locate_given(path))), "")
            if real.startswith(other) or other.startswith(real):
                return False
        return True

    def _note_problem(self, path: str, reason: str) -> None:
        if path not in self._problems:
            self._problems.add(path)
            log.warning("watch_can_not_look", path=path, reason=reason)


def _signature(file: FoundFile) -> _Signature:
    return (
        file.size,
        file.modified_ns,
        file.changed_ns,
        file.inode,
        file.device,
        file.has_sidecar,
    )
