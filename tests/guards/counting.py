"""Counts of work: statements, steps of SQLite's machine, calls of functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from observatory.store.database import database


def list_statements(work: Callable[[], object]) -> list[str]:
    """Return the statements that this thread's connection runs while something is done.

    What SQLite runs of its own, for an index of words, is left out: it begins with a comment.
    """
    connection, asked = database.connection(), []
    connection.set_trace_callback(asked.append)
    try:
        work()
    finally:
        connection.set_trace_callback(None)
    return [sql for sql in asked if not sql.lstrip().startswith("--")]


def count_compiling(work: Callable[[], object]) -> int:
    """Return how often SQLite asks, while it compiles statements, whether it may do what they say.

    Each statement is compiled anew where this begins: do what is counted before once more.
    """
    connection, asked = database.connection(), 0

    def note(*_action: Any) -> int:
        nonlocal asked
        asked += 1
        return 0

    connection.set_authorizer(note)
    try:
        work()
        asked = 0
        work()
    finally:
        connection.set_authorizer(None)
    return asked


def count_steps(work: Callable[[], object]) -> int:
    """Return how often SQLite's machine went around meanwhile: it grows with rows touched."""
    connection, steps = database.connection(), 0

    def note() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(note, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 0)
    return steps


def count_calls(work: Callable[[], object]) -> int:
    """Return how many functions this thread calls, of Python and of C."""
    calls = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    # The one that ends the counting.
    return calls - 1
