"""What is done for many things at once at the end of a block, and for each by itself elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


# What is done, and for what.
_Waiting = dict[Callable[[list[Any]], None], list[Any]]


class _Here(threading.local):
    """What this thread does at the end of its block, while it is in one."""

    waiting: _Waiting | None = None


_here = _Here()


def put_off(act: Callable[[list[_T]], None], item: _T) -> None:
    """Do something for one thing: at the end of this thread's block, or at once where it has none.

    Args:
        act: Does it, for one thing or for several in the order in which they came.
        item: For what.
    """
    if _here.waiting is None:
        act([item])
    else:
        _here.waiting.setdefault(act, []).append(item)


@contextmanager
def until_end() -> Iterator[None]:
    """Do what a block puts off at its end, each thing for all at once; not where it fails.

    What was put off first is done first.
    """
    waiting: _Waiting = {}
    _here.waiting = waiting
    try:
        yield
    finally:
        _here.waiting = None
    for act, items in waiting.items():
        act(items)


def count_put_off() -> int:
    """Return how many things this thread has put off in its block."""
    return sum(map(len, (_here.waiting or {}).values()))
