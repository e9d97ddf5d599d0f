"""The database of a command that only looks: nothing is made and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from observatory.errors import ObservatoryError, SchemaError
from observatory.store.database import (
    DatabaseError,
    close,
    configure_for_looking,
    connect,
    file_state,
)

Result = TypeVar("Result")
_TRIES = 3


def look_at(path: Path, work: Callable[[], Result]) -> Result:
    """Run some work that reads the database at a path, and return what it returns.

    A file that nobody has open is read as one that does not change. When somebody opens it
    meanwhile, what was read may be of two moments, and all is done again.

    Raises:
        SchemaError: There is none.
    """
    _check_there(path)
    for _ in range(_TRIES):
        before = file_state(path)
        configure_for_looking(path)
        is_still = not before[-1]
        try:
            connect()
            result = work()
        except (ObservatoryError, DatabaseError):
            if is_still and file_state(path) != before:
                continue
            raise
        finally:
            close()
        if not is_still or file_state(path) == before:
            return result
    raise SchemaError(f"{path} was opened and closed again and again; try again at a calm moment.")


@contextmanager
def looking_once(path: Path) -> Iterator[Callable[[], bool]]:
    """Connect to a database that only is read, for what can not be done again.

    Yields:
        What tells whether all that was read is of one moment: nobody opened the file meanwhile.

    Raises:
        SchemaError: There is none.
    """
    _check_there(path)
    before = file_state(path)
    configure_for_looking(path)
    try:
        connect()
        yield lambda: before[-1] or file_state(path) == before
    finally:
        close()


def may_write(path: Path) -> bool:
    """Tell whether this user may write to a database, and beside it, where its log lies."""
    real = os.path.realpath(path)
    return os.access(real, os.W_OK) and os.access(os.path.dirname(real), os.W_OK)


def _check_there(path: Path) -> None:
    if not path.exists() or not path.stat().st_size:
        raise SchemaError(f"{path} does not exist yet; `observatory serve` makes it.")
