"""What SQLite's library leaves out, and what makes that safe."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import peewee
import pytest

from observatory.store.database import database, fetch_one

driver = peewee.sqlite3  # type: ignore[attr-defined]


@pytest.mark.skipif(not driver.__name__.startswith("pysqlite3."), reason="the system's library")
def test_memory_is_not_counted(db):
    """That takes a lock of the whole process each time."""
    extension = pytest.importorskip("pysqlite3._sqlite3")
    assert fetch_one("SELECT 1") == (1,)
    assert ctypes.CDLL(extension.__file__).sqlite3_memory_used() == 0


def test_a_connection_is_refused_to_other_threads(db):
    """They would use it at the same time, and there is no lock."""
    connection = database.connection()
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(driver.ProgrammingError, match="same thread"),
    ):
        threads.submit(connection.execute, "SELECT 1").result()
