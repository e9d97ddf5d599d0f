"""Transcript files: how far each was read, and which of its lines could not be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from peewee import JOIN

from observatory.errors import NotFound
from observatory.store.database import execute, execute_many, fetch_all, fetch_one, writing
from observatory.store.models import Conversation, TranscriptError, TranscriptFile
from observatory.store.pages import Page
from observatory.timestamps import now


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


def record_failure(path: str, message: str) -> None:
    """Mark a file that can not be opened; it is tried again by the next run."""
    with writing():
        state = find_state(path)
        key = (
            state.key
            if state
            else insert_file(
                path, filename=path.rsplit("/", 1)[-1], role="session", created_at=now()
            )
        )
        update_file(key, {"status": "error", "error_message": message, "processed_at": now()})


def list_files(*, status: str | None, limit: int, offset: int) -> Page:
    """Return one page of files, the most recently changed first.

    Args:
        status: Only files in this state.
        limit: Largest number of rows, 1 to 100.
        offset: How many rows to pass over.
    """
    query = _files()
    if status is not None:
        query = query.where(TranscriptFile.status == status)
    total = query.count()
    query = query.order_by(TranscriptFile.last_modified.desc(), TranscriptFile.key)
    rows = list(query.limit(limit + 1).offset(offset).dicts())
    return Page(
        rows=[_file(row) for row in rows[:limit]],
        total=total,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def get_file(key: int) -> dict[str, Any]:
    """Return one file with its state, its numbers of records by type and its bad lines.

    Raises:
        NotFound: There is none.
    """
    row = _files().where(TranscriptFile.key == key).dicts().first()
    if row is None:
        raise NotFound("file", str(key))
    errors = (
        TranscriptError.select(
            TranscriptError.line,
            TranscriptError.byte_start,
            TranscriptError.byte_end,
            TranscriptError.reason,
        )
        .where(TranscriptError.file == key)
        .order_by(TranscriptError.line, TranscriptError.byte_start)
        .limit(100)
        .dicts()
    )
    return {
        **_file(row),
        "record_counts": json.loads(row["record_counts"]),
        "bad_lines": list(errors),
    }


def _files() -> Any:
    return TranscriptFile.select(TranscriptFile, Conversation.id.alias("conversation_id")).join(
        Conversation, JOIN.LEFT_OUTER
    )


def _file(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["key"],
        "filename": row["filename"],
        "file_path": row["path"],
        "role": row["role"],
        "conversation_id": row["conversation_id"],
        "size": row["size"],
        "last_modified": row["last_modified"],
        "processed_at": row["processed_at"],
        "status": row["status"],
        "error_message": row["error_message"],
        "line_count": row["line_count"] + row["has_open_line"],
        "bad_line_count": row["bad_line_count"],
        "byte_offset": row["byte_offset"],
        "created_at": row["created_at"],
    }
