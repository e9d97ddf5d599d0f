"""Transcript files: how far each was read, and which of its lines could not be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from observatory.store.database import execute, execute_many, fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class FileState:
    """How far a file was read: ``byte_offset`` lies behind its last complete line."""

    key: int
    conversation_key: int | None
    device: int
    inode: int
    size: int
    modified_ns: int
    byte_offset: int
    tail_hash: bytes | None
    line_count: int
    has_open_line: bool
    generation: int
    status: str


_STATE = (
    "key, conversation_key, device, inode, size, modified_ns, byte_offset, tail_hash,"
    " line_count, has_open_line, generation, status"
)


def read_states() -> dict[str, FileState]:
    """Return the state of every known file by its path."""
    rows = fetch_all(f"SELECT path, {_STATE} FROM transcript_files")
    return {path: FileState(*state) for path, *state in rows}


def find_state(path: str) -> FileState | None:
    """Return the state of one file, or ``None`` when it was never seen."""
    row = fetch_one(f"SELECT {_STATE} FROM transcript_files WHERE path = ?", (path,))
    return FileState(*row) if row else None


def insert_file(path: str, *, filename: str, role: str, created_at: str) -> int:
    """Insert a file that was not read yet and return its key."""
    row = fetch_one(
        "INSERT INTO transcript_files (path, filename, role, created_at) VALUES (?, ?, ?, ?)"
        " RETURNING key",
        (path, filename, role, created_at),
    )
    assert row is not None
    return int(row[0])


def update_file(key: int, values: dict[str, Any]) -> None:
    """Set columns of a file."""
    columns = ", ".join(f"{column} = ?" for column in values)
    execute(f"UPDATE transcript_files SET {columns} WHERE key = ?", (*values.values(), key))


def forget_lines(key: int) -> None:
    """Forget counts and bad lines of a file that is read from its start again."""
    execute("DELETE FROM transcript_errors WHERE file_key = ?", (key,))
    execute(
        "UPDATE transcript_files SET bad_line_count = 0, record_counts = '{}' WHERE key = ?",
        (key,),
    )


def insert_errors(rows: list[tuple[int, int, int, int, str]]) -> None:
    """Keep bad lines: file key, line, first byte, end, reason. A known one is left alone."""
    execute_many(
        "INSERT INTO transcript_errors (file_key, line, byte_start, byte_end, reason)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )


def count_records(key: int, counts: dict[str, int]) -> None:
    """Add numbers of records by type to those of a file, and recount its bad lines."""
    row = fetch_one("SELECT record_counts FROM transcript_files WHERE key = ?", (key,))
    assert row is not None
    total = Counter(json.loads(row[0])) + Counter(counts)
    execute(
        "UPDATE transcript_files SET record_counts = ?2, bad_line_count ="
        " (SELECT count(DISTINCT line) FROM transcript_errors WHERE file_key = ?1)"
        " WHERE key = ?1",
        (key, json.dumps(total, sort_keys=True)),
    )
