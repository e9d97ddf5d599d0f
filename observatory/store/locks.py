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

# What the watcher holds.
WATCH_LOCK = "watch"
# Held while the watcher waits for the lock ``ingest``: who holds that one gives way.
WAITING_LOCK = "watch-waiting"
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
        least = max(wait_seconds, _LEAST_WAIT_SECONDS)
        _wait_for(descriptor, str(path), fcntl.LOCK_EX, wait_seconds=least)
        _write_holder(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def passing(database_path: str | Path, work: str, *, wait_seconds: float) -> Iterator[None]:
    """Run a block while nobody does one kind of work; who begins it waits for the block's end.

    Nothing is made: without a lock file nobody ever did that.

    Raises:
        LockHeld: Somebody did it for all of that time.
    """
    path = f"{database_path}.{work}.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # Whoever may not read it, may not read the database either.
        yield
        return
    try:
        _wait_for(descriptor, path, fcntl.LOCK_SH, wait_seconds=wait_seconds)
        yield
    finally:
        os.close(descriptor)


# Descriptors of locks that are kept to the end of the process.
_kept: list[int] = []


def keep_together(database_path: str | Path, work: str) -> None:
    """Hold a lock, which others may hold as well, until this process and all its forks end.

    Raises:
        LockHeld: Somebody holds it alone.
        OSError: The lock file can not be made.
    """
    path = f"{database_path}.{work}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, path, fcntl.LOCK_SH, wait_seconds=_LEAST_WAIT_SECONDS)
        _write_holder(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    _kept.append(descriptor)


def read_holder(database_path: str | Path, work: str) -> str | None:
    """Return who does one kind of work on a database, in words, or ``None`` when nobody does."""
    try:
        if not is_kept(database_path, work):
            return None
        descriptor = os.open(f"{database_path}.{work}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)


def is_held(database_path: str | Path, work: str) -> bool:
    """Tell whether a living process does one kind of work on a database, alone."""
    return _is_refused(database_path, work, fcntl.LOCK_SH)


def is_kept(database_path: str | Path, work: str) -> bool:
    """Tell whether living processes hold a lock of ``keep_together``."""
    return _is_refused(database_path, work, fcntl.LOCK_EX)


def _is_refused(database_path: str | Path, work: str, kind: int) -> bool:
    try:
        descriptor = os.open(f"{database_path}.{work}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
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


def _wait_for(descriptor: int, path: str, kind: int, *, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(descriptor, kind):
        if time.monotonic() >= deadline:
            raise LockHeld(path, _read_holder(descriptor))
        time.sleep(_POLL_SECONDS)


def _write_holder(descriptor: int) -> None:
    holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"Process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "Another process"
