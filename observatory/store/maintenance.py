"""What keeps the database file in order, in steps that are short; and how each went last."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observatory.errors import NoRoom
from observatory.store.database import (
    database,
    execute,
    fetch_all,
    file_sizes,
    waiting_at_most,
    writing,
)
from observatory.timestamps import now, timestamp_in


@dataclass(frozen=True, slots=True)
class MaintenanceRun:
    """How one kind of upkeep went the last time; ``next_at`` is when it may run again."""

    name: str
    last_run_at: str
    duration_ms: int
    result: str
    is_good: bool
    next_at: str | None

    def document(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "name": self.name,
            "last_run_at": self.last_run_at,
            "duration_ms": self.duration_ms,
            "result": self.result,
            "is_good": self.is_good,
            "next_at": self.next_at,
        }


def record_run(
    name: str, *, duration_ms: int, result: str, is_good: bool, next_seconds: float
) -> None:
    """Keep how upkeep went, which has just ended."""
    with writing(moves=None):
        execute(
            "INSERT INTO maintenance (name, last_run_at, duration_ms, result, is_good, next_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " last_run_at = excluded.last_run_at, duration_ms = excluded.duration_ms,"
            " result = excluded.result, is_good = excluded.is_good, next_at = excluded.next_at",
            (name, now(), duration_ms, result, is_good, timestamp_in(next_seconds)),
        )


def list_runs() -> list[MaintenanceRun]:
    """Return how all upkeep went, by name."""
    rows = fetch_all(
        "SELECT name, last_run_at, duration_ms, result, is_good, next_at FROM maintenance"
        " ORDER BY name"
    )
    return [
        MaintenanceRun(name, last_run_at, duration_ms, result, bool(is_good), next_at)
        for name, last_run_at, duration_ms, result, is_good, next_at in rows
    ]


def find_last_run(name: str) -> str | None:
    """Return when some upkeep was done last, or ``None``."""
    rows = fetch_all("SELECT last_run_at FROM maintenance WHERE name = ?", (name,))
    return rows[0][0] if rows else None


def list_failed() -> list[str]:
    """Return the names of what did not go well the last time."""
    return [name for (name,) in fetch_all("SELECT name FROM maintenance WHERE NOT is_good")]


# The write-ahead log


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint found: pages in the log, and those of them that are in the file, too."""

    log_pages: int
    moved_pages: int
    is_truncated: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether nobody reads something older than the log's end."""
        return self.moved_pages >= self.log_pages


def checkpoint(*, truncate_bytes: int, patience_ms: int) -> Checkpoint:
    """Take what is in the log into the file as far as nobody reads it, and wait for nobody.

    Args:
        truncate_bytes: A log that is larger than this is cut to nothing, if all of it could be
            taken.
        patience_ms: How long to wait for readers then; other writers wait as long.
    """
    found = Checkpoint(*_checkpoint("PASSIVE"))
    _, wal_bytes = file_sizes()
    if wal_bytes <= truncate_bytes or not found.is_complete:
        return found
    with waiting_at_most(patience_ms):
        _checkpoint("TRUNCATE")
    _, left = file_sizes()
    return Checkpoint(found.log_pages, found.moved_pages, is_truncated=left < wal_bytes)


def _checkpoint(mode: str) -> tuple[int, int]:
    [(_, log_pages, moved_pages)] = fetch_all(f"PRAGMA wal_checkpoint ({mode})")
    return int(log_pages), int(moved_pages)


# Statistics for the query planner

# Rows that are looked at of each index.
_ANALYSIS_LIMIT = 400
# Of all tables (0x10000), also those that this connection did not ask; list only (1).
_LIST_STALE = "PRAGMA optimize (0x10003)"
_ANALYZE = 'ANALYZE "main".'


def list_stale_tables() -> list[str]:
    """Return the statements that SQLite would run to know its tables better, one for each."""
    fetch_all(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
    return [
        sql
        for (sql,) in fetch_all(_LIST_STALE)
        # Of an empty table nothing is ever known, so it would come again each time.
        if sql.startswith(_ANALYZE) and _has_rows(sql.removeprefix(_ANALYZE))
    ]


def _has_rows(table: str) -> bool:
    return bool(fetch_all(f"SELECT 1 FROM {table} LIMIT 1"))


def analyze(statement: str) -> None:
    """Run one of these statements in a transaction of its own.

    Some builds of SQLite keep samples of what stands in indexes, such as titles and paths. Those
    would be copies that outlive what they are of, so none reaches the disk.
    """
    with writing(moves=None):
        execute(statement)
        forget_samples()


def forget_samples() -> None:
    """Delete samples that SQLite took of what stands in indexes, inside a transaction."""
    if fetch_all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat4'"):
        execute("DELETE FROM sqlite_stat4")


# Checking

# Instructions of SQLite between two looks at whether to go on: a millisecond or so.
_INSTRUCTIONS = 50_000


def list_tables_to_check() -> list[str]:
    """Return the names of all tables that have pages of their own, in a fixed order."""
    rows = fetch_all(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return ["sqlite_schema", *(name for (name,) in rows)]


def check_table(name: str, *, should_end: Callable[[], bool]) -> list[str] | None:
    """Look for damage in a table and its indexes.

    Args:
        name: Which table.
        should_end: Asked each millisecond or so whether to end at once.

    Returns:
        What is wrong, in SQLite's words; ``None`` when it was ended before.
    """
    was_ended = False

    def ask() -> bool:
        nonlocal was_ended
        was_ended = was_ended or should_end()
        return was_ended

    connection = database.connection()
    connection.set_progress_handler(ask, _INSTRUCTIONS)
    try:
        found = [row[0] for row in fetch_all(f'PRAGMA quick_check ("{name}")')]
    except Exception:
        if was_ended:
            return None
        raise
    finally:
        connection.set_progress_handler(None, 0)
    return [] if found == ["ok"] else found


def read_revision() -> int:
    """Return the number that moves when anything in the archive changes."""
    [(revision,)] = fetch_all("SELECT value FROM totals WHERE name = 'revision'")
    return int(revision)


def count_free_pages() -> tuple[int, int]:
    """Return how many pages of the file hold nothing, and the size of one in bytes."""
    [(free,)] = fetch_all("PRAGMA freelist_count")
    [(size,)] = fetch_all("PRAGMA page_size")
    return int(free), int(size)


def read_disk_space() -> tuple[int, int]:
    """Return the bytes that are free for this user where the database lies, and all of them."""
    status = os.statvfs(os.path.dirname(os.path.abspath(database.database)))
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


# For a copy, and something to go on with.
_ROOM = 1.1


def check_room_to_compact(*, on_disk: bool = True, in_memory: bool = True) -> None:
    """Return quietly when the file can be written anew.

    A copy takes room on the disk. Where others use the database, SQLite makes it in memory, since
    temporary tables lie there, and writes all of it to the log before it becomes the file.

    Args:
        on_disk: Whether to look at the disk.
        in_memory: Whether to look at the memory; where nobody tells, there is enough.

    Raises:
        NoRoom: There is too little.
    """
    size, log_size = file_sizes()
    free_pages, page_size = count_free_pages()
    needed = int((size + log_size - free_pages * page_size) * _ROOM)
    if on_disk and (free := read_disk_space()[0]) < needed:
        raise NoRoom(f"{_describe_room(needed, 'on the disk', free)} Make room, and try again.")
    if in_memory and (left := read_free_memory()) is not None and left < needed:
        raise NoRoom(
            f"{_describe_room(needed, 'of memory', left)} Stop the server and the watcher and run"
            " `observatory compact`, which takes none then."
        )


def _describe_room(needed: int, place: str, free: int) -> str:
    return (
        f"Writing the database anew takes {needed // 2**20 + 1:,} MiB {place} for a while, and"
        f" {free // 2**20:,} MiB are free."
    )


def read_free_memory() -> int | None:
    """Return the bytes of memory that programs may still take; ``None`` where that is not told."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None
