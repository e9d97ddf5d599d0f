"""The processes of a server, by what they do."""

from __future__ import annotations

import os
from pathlib import Path

from observatory.store.watcher_status import read_watcher_status
from tests.processes import Home, Server, wait_for


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that are there still."""
    try:
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def tree_of(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *(each for child in children_of(pid) for each in tree_of(child))]


def is_running(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers_of(server: Server, *, number: int = 1) -> list[int]:
    """Return the workers of a server, once there are at least so many."""

    def found() -> list[int]:
        workers = [pid for pid in children_of(server.process.pid) if not _is_supervisor(pid)]
        return workers if len(workers) >= number else []

    return list(wait_for(found, what=f"{number} workers"))


def _is_supervisor(pid: int) -> bool:
    try:
        return b"observatory.supervise" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def watcher_of(home: Home) -> int:
    """Return the watcher that runs, once one does."""

    def found() -> int | None:
        status = read_watcher_status(home.database)
        runs = status.state in ("running", "catching_up") and status.pid is not None
        return status.pid if runs and is_running(status.pid or 0) else None

    return int(wait_for(found, what="a watcher"))


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
