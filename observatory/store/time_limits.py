"""Work in the database that ends when its time is over, whatever SQLite is doing.

SQLite asks a function now and then whether to go on. It belongs to the connection, and so to the
thread: what other threads and processes do, such as ingest, is never ended.
"""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

from observatory.errors import TimeLimitReached

# Some 0.2 to 2 ms of work. Asking takes Python's lock, for which other threads may compete.
_INSTRUCTIONS = 20_000


class _Limit(threading.local):
    """The time, by ``perf_counter``, at which the work of this thread has to end."""

    until: float | None = None
    connection: Any = None


_limit = _Limit()


def begin_time_limit(connection: Any, until: float) -> None:
    """End what this thread does on its connection at a time, by ``perf_counter`` in seconds."""
    _limit.until = until
    if _limit.connection is not connection:
        connection.set_progress_handler(_is_over, _INSTRUCTIONS)
        _limit.connection = connection


def end_time_limit() -> None:
    """Let this thread work as long as it takes."""
    _limit.until = None


def check_time_limit() -> None:
    """Return quietly when this thread has time left, or no limit.

    Raises:
        TimeLimitReached: Its time is over.
    """
    if _limit.until is not None and perf_counter() > _limit.until:
        raise TimeLimitReached


def read_time_limit() -> float | None:
    """Return when this thread's work has to end, by ``perf_counter``, or ``None``."""
    return _limit.until


def seconds_left() -> float | None:
    """Return how long this thread may go on working, or ``None`` for as long as it takes."""
    return None if _limit.until is None else max(0.0, _limit.until - perf_counter())


def _is_over() -> bool:
    return _limit.until is not None and perf_counter() > _limit.until
