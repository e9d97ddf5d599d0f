"""What SQLite's library leaves out, and what makes that safe."""

from __future__ import annotations

import ctypes
import subprocess
import sys
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


@pytest.mark.skipif(not driver.__name__.startswith("pysqlite3."), reason="the system's library")
def test_a_library_that_is_in_use_is_left_as_it_is():
    """To end it would take its memory from under the connection."""
    code = (
        "import ctypes, pysqlite3\n"
        "from pysqlite3 import _sqlite3, dbapi2\n"
        "connection = pysqlite3.connect(':memory:')\n"
        "from observatory.store.driver import leave_out_locks\n"
        "leave_out_locks(dbapi2)\n"
        "counted = ctypes.CDLL(_sqlite3.__file__).sqlite3_memory_used()\n"
        "print(counted > 0, connection.execute('SELECT 1').fetchone())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True (1,)\n"


def test_a_connection_is_refused_to_other_threads(db):
    """They would use it at the same time, and there is no lock."""
    connection = database.connection()
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(driver.ProgrammingError, match="same thread"),
    ):
        threads.submit(connection.execute, "SELECT 1").result()
