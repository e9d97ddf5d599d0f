"""Small writes of several requests in one transaction.

A transaction costs as much as what a small write does in it, and so do the sums, documents and
index that are brought up to date at its end. Where many write at once, a server runs their requests
side by side in one thread: each goes on until it wants to write, then all is written together, and
each is told once that is kept (docs/decisions/0024-writes-together.md).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from observatory.store.database import (
    is_busy,
    is_writing,
    limit_time,
    read_auth_revision,
    read_write_mark,
    writing,
)
from observatory.store.putting_off import count_put_off, until_end
from observatory.store.time_limits import end_time_limit, read_time_limit

_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclass(slots=True)
class End:
    """What came of a task."""

    result: Any = None
    error: BaseException | None = None


class _Here(threading.local):
    """What this thread runs side by side."""

    running: _Running | None = None


@dataclass(slots=True, eq=False)
class _Write:
    """What a request wants to write, and what became of it."""

    act: Callable[[], Any]
    then: Callable[[Any], Any]
    task: greenlet
    # By ``perf_counter``: when its request has to end.
    until: float | None
    result: Any = None
    error: BaseException | None = None


class _Running:
    """Tasks side by side in one thread, and those of their writes that wait."""

    def __init__(self) -> None:
        self._loop = getcurrent()
        self._waiting: list[_Write] = []
        self.auth_revision: int | None = None

    def wait_for(self, act: Callable[[], Any], then: Callable[[Any], _T]) -> _T:
        """Let others go on until this was written; called by a task."""
        write = _Write(act, then, getcurrent(), read_time_limit())
        self._waiting.append(write)
        self._loop.switch()
        if write.error is not None:
            raise write.error
        result: _T = write.result
        return result

    def run(self, tasks: Sequence[Callable[[], Any]]) -> list[End]:
        """Run tasks until all have ended."""
        ends = [End() for _ in tasks]
        for task, end in zip(tasks, ends, strict=True):
            end_time_limit()
            greenlet(_run).switch(task, end)
        while self._waiting:
            writes, self._waiting = self._waiting, []
            _write(writes)
            for write in writes:
                end_time_limit()
                write.task.switch()
        return ends


_here = _Here()


def _as_it_is(result: Any) -> Any:
    return result


def run_together(tasks: Sequence[Callable[[], Any]]) -> list[End]:
    """Run tasks side by side in this thread, and return what came of each.

    Each runs by itself until it comes to ``write_together``.
    """
    _here.running = running = _Running()
    try:
        return running.run(tasks)
    finally:
        _here.running = None


def write_together(act: Callable[[], _T], then: Callable[[_T], _S] = _as_it_is) -> _S:
    """Run something in a write transaction, and return what comes of it once that is kept.

    It may be run again, in another transaction, where one that it shared was taken back.

    Args:
        act: Looks first whether it may write, and then does.
        then: Is given what that returned, in the same transaction, when sums and documents are as
            they will be.
    """
    if is_writing():
        return then(act())
    if _here.running is not None:
        return _here.running.wait_for(act, then)
    with writing():
        return then(act())


def read_latest_auth_revision() -> int:
    """Return the revision of accounts and keys as it is, or was when these tasks began.

    All their requests had come by then: what was answered since was answered behind them.
    """
    running = _here.running
    if running is None:
        return read_auth_revision()
    if running.auth_revision is None:
        running.auth_revision = read_auth_revision()
    return running.auth_revision


def _run(task: Callable[[], Any], end: End) -> None:
    try:
        end.result = task()
    except BaseException as error:
        end.error = error


def _write(writes: Sequence[_Write]) -> None:
    """Write all in one transaction; one by one where something fails that was begun."""
    if len(writes) > 1 and _write_at_once(writes):
        return
    for write in writes:
        _limit(write.until)
        try:
            with writing():
                write.result = write.then(write.act())
        except BaseException as error:
            # Whatever it is, it is of this one alone.
            write.error = error


def _write_at_once(writes: Sequence[_Write]) -> bool:
    """Write all in one transaction; tell whether each has its result, or was refused."""
    limits = [write.until for write in writes if write.until is not None]
    _limit(min(limits, default=None))
    try:
        with writing():
            with until_end():
                for write in writes:
                    _try(write)
            for write in writes:
                if write.error is None:
                    write.result = write.then(write.result)
    except BaseException as error:
        for write in writes:
            # Another would wait as long for the lock as these did.
            write.error = type(error)(*error.args) if is_busy(error) else None
        return is_busy(error)
    return True


def _try(write: _Write) -> None:
    """Run a write, which is refused when it fails before anything was changed or put off.

    Raises:
        Exception: It failed later.
    """
    before = read_write_mark(), count_put_off()
    try:
        write.result = write.act()
    except Exception as error:
        # Where it was interrupted, or the disk is full, SQLite has taken back everything.
        if (read_write_mark(), count_put_off()) != before:
            raise
        write.error = error


def _limit(until: float | None) -> None:
    if until is None:
        end_time_limit()
    else:
        limit_time(until)
