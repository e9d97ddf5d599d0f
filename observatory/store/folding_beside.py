"""The write-ahead log into the database's file by a thread, while the writer goes on.

Both wait for the disk there, which is a tenth of the time until rows are visible. The writer brings
the log in by itself once it has four times as many pages: when the disk is too slow for the
thread, or the thread has failed.
"""

from __future__ import annotations

import threading

from observatory.store.database import (
    LOG_PAGES,
    DatabaseError,
    close,
    connect,
    count_wal_pages,
    execute,
    fetch_all,
)

_MOST_PAGES = 4 * LOG_PAGES


class FoldingBeside:
    """A thread that brings the log in whenever it is told of a commit, until a block ends."""

    def __init__(self) -> None:
        self._has_more = threading.Event()
        self._is_end = False
        self._thread = threading.Thread(target=self._run, name="folding", daemon=True)

    def __enter__(self) -> FoldingBeside:
        execute(f"PRAGMA wal_autocheckpoint = {_MOST_PAGES}")
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._is_end = True
        self._has_more.set()
        self._thread.join()
        execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")

    def tell(self) -> None:
        """Say that something was committed."""
        self._has_more.set()

    def _run(self) -> None:
        try:
            connect()
            while self._has_more.wait() and not self._is_end:
                self._has_more.clear()
                if (count_wal_pages() or 0) >= LOG_PAGES:
                    fetch_all("PRAGMA wal_checkpoint (PASSIVE)")
        except DatabaseError:
            # The writer does it, and says what is wrong.
            return
        finally:
            close()
