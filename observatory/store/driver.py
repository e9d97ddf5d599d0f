"""SQLite's library in this process: without locks and counts that nobody needs.

Made for any use, SQLite takes a lock for each value that is read, and another, of the whole
process, for each piece of memory, to count it. Here a connection is used by one thread only, which
the driver sees to itself, and nobody asks for those counts: without them a page of messages takes
a twentieth less.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Any

# Source: sqlite3.h
_MULTITHREAD = 2
_MEMSTATUS = 9


def leave_out_locks(driver: Any) -> None:
    """Tell the library so, unless it has a connection already, for it is ended and begun anew.

    Only one that the driver brings along: one of the system may be in use by others.
    """
    extension = sys.modules.get("pysqlite3._sqlite3")
    if extension is None or not driver.__name__.startswith("pysqlite3."):
        return
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(extension.__file__)
        # What comes after the first is handed over in another way on some machines.
        library.sqlite3_config.argtypes = [ctypes.c_int]
        library.sqlite3_memory_used.restype = ctypes.c_longlong
        if library.sqlite3_memory_used():
            return
        library.sqlite3_shutdown()
        library.sqlite3_config(_MULTITHREAD)
        library.sqlite3_config(_MEMSTATUS, 0)
        library.sqlite3_initialize()
