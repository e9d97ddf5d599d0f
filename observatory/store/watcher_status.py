"""What the watcher of a database does, in a small file beside it that others read.

It is written when something changed, at most once a second, and replaced as a whole. Whether there
is a watcher at all is told by its lock, which the kernel drops when it dies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from observatory.store.locks import WATCH_LOCK, is_held
from observatory.timestamps import milliseconds_between, now

# A sample: its name, its labels, its value.
Kept = tuple[str, dict[str, str], float]


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """One folder that is followed.

    ``mode`` is ``events`` (the system tells of changes), ``polling`` (they are looked for) or
    ``missing`` (it is not there yet); ``files`` are the transcripts below it.
    """

    path: str
    mode: str
    files: int


@dataclass(frozen=True, slots=True)
class WatcherStatus:
    """What a watcher does; all ``None`` and empty where there never was one.

    ``state`` is ``catching_up`` until all that was there at its start is read, then ``running``,
    and ``stopped`` when none lives. Times are ISO 8601 in UTC: when it started, when the last
    change was noticed, when one was last read, when it last failed. ``last_failure`` says why, in
    words that name no content. What waits is known and not read yet.
    """

    state: str = "stopped"
    pid: int | None = None
    host: str | None = None
    started_at: str | None = None
    folders: tuple[FolderStatus, ...] = ()
    files: int = 0
    last_change_at: str | None = None
    last_read_at: str | None = None
    waiting_files: int = 0
    waiting_bytes: int = 0
    last_failure: str | None = None
    last_failure_at: str | None = None


def watcher_status_path(database_path: str | Path) -> Path:
    """Return where the status of a database's watcher lies."""
    return Path(f"{database_path}.watch.json")


def read_watcher_status(database_path: str | Path) -> WatcherStatus:
    """Return what the watcher of a database does, or did last when it is stopped."""
    status = _read(watcher_status_path(database_path))
    return status if is_held(database_path, WATCH_LOCK) else replace(status, state="stopped")


def read_watcher_counts(database_path: str | Path) -> dict[str, list[Kept]]:
    """Return what the watcher of a database has counted, or the last one, by names of metrics."""
    counts = _read_file(watcher_status_path(database_path)).get("counts", {})
    try:
        return {
            str(name): [(str(sample), dict(labels), float(value)) for sample, labels, value in kept]
            for name, kept in counts.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def lag_seconds(status: WatcherStatus) -> float:
    """Return for how long something has waited to be read; 0 when nothing waits."""
    moments = [each for each in (status.last_read_at, status.last_change_at) if each is not None]
    if not status.waiting_files or status.last_change_at is None:
        return 0.0
    return milliseconds_between(max(moments), now()) / 1000


def write_watcher_status(
    database_path: str | Path,
    status: WatcherStatus,
    *,
    counts: Mapping[str, Sequence[Kept]] | None = None,
) -> None:
    """Replace the status of a database's watcher, readable by its owner only.

    Args:
        database_path: The database.
        status: What it does.
        counts: What it has counted, by names of metrics.

    Raises:
        OSError: It can not be written.
    """
    path = watcher_status_path(database_path)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            json.dump({**asdict(status), "counts": counts or {}}, stream)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _read_file(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _read(path: Path) -> WatcherStatus:
    held = _read_file(path)
    held.pop("counts", None)
    try:
        folders = tuple(FolderStatus(**folder) for folder in held.pop("folders"))
        return WatcherStatus(**held, folders=folders)
    except (TypeError, KeyError, AttributeError):
        # None was written yet, or by another version.
        return WatcherStatus()
