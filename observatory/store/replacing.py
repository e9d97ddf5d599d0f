"""Putting another file in the place of the database, at a moment when nobody has it open."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from observatory.errors import DatabaseInUse, LockHeld
from observatory.store.database import OPENING_LOCK, SERVING_LOCK, file_state, fold_log, log_path
from observatory.store.in_use import unused
from observatory.store.locks import WATCH_LOCK, held
from observatory.store.whole_files import sync_file, sync_folder

_USES = {
    SERVING_LOCK: "serves",
    WATCH_LOCK: "watches for",
    "ingest": "reads transcripts into",
    "migrate": "migrates",
}


@contextmanager
def nobody_else(path: Path) -> Iterator[None]:
    """Run a block while no server, watcher, ingest or other program uses a database.

    Servers, watchers and readings are told by their locks, which they have before they open it;
    any other program by SQLite's own.

    Raises:
        DatabaseInUse: One does.
    """
    with ExitStack() as locks:
        for work, verb in _USES.items():
            try:
                locks.enter_context(held(path, work))
            except LockHeld as error:
                raise DatabaseInUse(str(path), f"{error.holder} {verb} it, and") from None
        if path.exists():
            with unused(path):
                pass
        yield


# What the names of working folders begin with, and what follows that of a database in the names
# of those that were replaced.
_WORKING = ".restoring-"
_REPLACED = ".before-"


def list_working_folders(path: Path) -> list[Path]:
    """Return the folders in which a database is put together to be at a path, in order."""
    return sorted(Path(os.path.realpath(path)).parent.glob(f"{_WORKING}*"))


def remove_working_folders(path: Path) -> None:
    """Remove what killed processes left, for the holder of the lock ``ingest``.

    Who puts another file in the place of the database has that lock, too.
    """
    for left in list_working_folders(path):
        shutil.rmtree(left, ignore_errors=True)


def list_replaced(path: Path) -> list[Path]:
    """Return the databases that were at a path until restores replaced them, in order."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}{_REPLACED}*"))


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside the database's file, which is gone afterwards."""
    remove_working_folders(path)
    folder = Path(tempfile.mkdtemp(prefix=_WORKING, dir=Path(os.path.realpath(path)).parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(
    copy: Path, path: Path, *, kept: Path, unchanged_since: tuple[Any, ...] | None = None
) -> bool:
    """Let a whole database without a log be the one at a path, for the holder of all its locks.

    At every moment there is a whole database by that name. One that is so damaged that its log can
    not be taken in is kept with its log.

    Args:
        copy: The file, in a ``working_folder``.
        path: Where it is to be.
        kept: The name that the database gets which was there.
        unchanged_since: What ``file_state`` returned when the copy was begun; a database that was
            written to since then stays.

    Returns:
        Whether there was one.

    Raises:
        DatabaseInUse: Somebody opened it meanwhile.
    """
    sync_file(copy)
    real = Path(os.path.realpath(path))
    log, index = log_path(real), real.with_name(f"{real.name}-shm")
    with held(path, OPENING_LOCK):
        was_there = real.exists()
        if was_there:
            with unused(real):
                pass
            fold_log(real)
            with unused(real):
                if unchanged_since not in (None, file_state(real)):
                    raise DatabaseInUse(str(path), "Another process wrote to it, and")
                try:
                    os.link(real, kept)
                except FileExistsError:
                    raise
                except OSError:
                    # A file system without links; for a moment there is no database then.
                    real.replace(kept)
                if log.exists():
                    log.replace(log_path(kept))
                index.unlink(missing_ok=True)
                copy.replace(real)
        else:
            # A log without its database belongs to nothing.
            log.unlink(missing_ok=True)
            index.unlink(missing_ok=True)
            copy.replace(real)
        sync_folder(real.parent)
    return was_there
