"""Taking turns with the lock ``ingest``: the watcher needs it often and shortly, others for long.

While the watcher waits for it, it holds another lock, and a long reading of this machine's other
processes that sees this stops after its batch, lets the watcher in, and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from observatory.errors import LockHeld
from observatory.log import log
from observatory.store.locks import WAITING_LOCK, held, is_held

INGEST_LOCK = "ingest"
_TRY_SECONDS = 0.5
_LONG_SECONDS = 10.0


class Stopped(Exception):
    """What waited for its turn shall end."""


@contextmanager
def watchers_turn(database_path: str | Path, *, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock ``ingest`` while a block runs, however long that takes to get.

    Raises:
        Stopped: ``should_stop`` turned true before.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(database_path, INGEST_LOCK))
        except LockHeld:
            with held(database_path, WAITING_LOCK):
                _wait(stack, database_path, should_stop)
        yield


def _wait(stack: ExitStack, database_path: str | Path, should_stop: Callable[[], bool]) -> None:
    began, is_told = time.monotonic(), False
    while not should_stop():
        try:
            stack.enter_context(held(database_path, INGEST_LOCK, wait_seconds=_TRY_SECONDS))
            return
        except LockHeld as error:
            if not is_told and time.monotonic() - began > _LONG_SECONDS:
                is_told = True
                log.warning("watch_waits", holder=error.holder)
    raise Stopped


def is_watcher_waiting(database_path: str | Path) -> bool:
    """Tell whether the watcher waits for the lock ``ingest``."""
    return is_held(database_path, WAITING_LOCK)
