"""Opening the database while others do."""

from __future__ import annotations

import threading
from pathlib import Path

import peewee
import pytest

from observatory.store import database
from observatory.store.database import close, configure, connect, fetch_one, find_cure


@pytest.fixture
def other(tmp_path: Path):
    """Another connection that sets up the same new file: it has no write-ahead log yet."""
    path = tmp_path / "new.db"
    # By the same library: two in one process drop each other's locks.
    connection = peewee.sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # type: ignore[attr-defined]
    connection.execute("BEGIN IMMEDIATE")
    configure(path)
    yield connection
    close()
    connection.close()


def test_opening_a_new_file_waits_for_who_sets_it_up(other):
    """SQLite does not: it fails at once rather than wait for a lock while it changes the mode."""
    ends = threading.Timer(0.2, other.execute, ["COMMIT"])
    ends.start()
    connect()
    ends.join()
    assert fetch_one("PRAGMA journal_mode") == ("wal",)


def test_opening_a_new_file_does_not_wait_for_ever(other, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    with pytest.raises(peewee.OperationalError, match="locked"):
        connect()


def test_an_error_of_the_disk_may_be_that_it_is_full():
    """So says SQLite when there is no room for the ``-shm`` file."""
    cure = find_cure(peewee.OperationalError("disk I/O error"))
    assert cure is not None and "full" in cure
