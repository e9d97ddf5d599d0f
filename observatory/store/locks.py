"""Lock files beside the database: one process at a time migrates, one ingests.

The kernel drops such a lock when its holder dies, so none is ever stale; what the file says of its
holder is only for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from observatory.errors import LockHeld

_POLL_SECONDS = 0.05
# Longer than `is_held` has the lock for, which must not look like another holder.
_LEAST_WAIT_SECONDS = 0.1


@contextmanager
def held(database_path: str | Path, work: str, *, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lock for one kind of work on a database while a block runs.

    Args:
        database_path: The database; the lock file lies beside it.
        work: What the lock is for, such as ``migrate`` or ``ingest``.
        wait_seconds: How long to wait for another holder.

    Raises:
        LockHeld: Another process holds it; the message says which.
    """
    path = Path(f"{database_path}.{work}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + max(wait_seconds, _LEAST_WAIT_SECONDS)
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise LockHeld(str(path), _read_holder(descriptor))
            time.sleep(_POLL_SECONDS)
        holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(database_path: str | Path, work: str) -> bool:
    """Tell whether a living process does one kind of work on a database."""
    try:
        descriptor = os.open(f"{database_path}.{work}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def find_holder(database_path: str | Path, work: str) -> str | None:
    """Say which living process does one kind of work on a database; ``None`` when none does."""
    if not is_held(database_path, work):
        return None
    descriptor = os.open(f"{database_path}.{work}.lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"Process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "Another process"
