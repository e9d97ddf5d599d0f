"""Transcript files: how far each was read, and which of its lines could not be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from observatory.errors import NotFound
from observatory.store.database import (
    database,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
    uploads_folder,
    writing,
)
from observatory.store.event_notes import note_file
from observatory.store.locks import is_held
from observatory.store.pages import Page
from observatory.store.scopes import WHOLE, Scope
from observatory.store.totals import add_to_total
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
    changed_ns: int
    byte_offset: int
    tail_hash: bytes | None
    line_count: int
    has_open_line: bool
    generation: int
    status: str
    is_reread: bool


# Above the keys that are there and those that were: an id is never given to another file.
_NEXT_KEY = (
    "(SELECT max(value, coalesce((SELECT max(key) FROM transcript_files), 0)) + 1"
    " FROM totals WHERE name = 'last_file_key')"
)
_MAX_KINDS = 100
_OTHER_KINDS = "(other)"
_STATE = (
    "key, conversation_key, device, inode, size, modified_ns, changed_ns, byte_offset,"
    " tail_hash, line_count, has_open_line, generation, status, is_reread"
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
        "INSERT INTO transcript_files (key, path, filename, role, created_at)"
        f" VALUES ({_NEXT_KEY}, ?, ?, ?, ?) RETURNING key",
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


def forget_errors(key: int, *, after: int) -> None:
    """Forget what could not be read of the lines behind a line: they are read again."""
    execute("DELETE FROM transcript_errors WHERE file_key = ? AND line > ?", (key, after))
    count_records(key, {})


def find_files_of(conversation_key: int) -> list[tuple[int, str]]:
    """Return key and path of the files that a conversation was read from."""
    return [
        (row[0], row[1])
        for row in fetch_all(
            "SELECT key, path FROM transcript_files WHERE conversation_key = ?",
            (conversation_key,),
        )
    ]


def list_files_without_rows() -> list[tuple[int, str]]:
    """Return key and path of files that were read, and of which the archive has nothing."""
    rows = fetch_all(
        "SELECT key, path FROM transcript_files f WHERE conversation_key IS NULL"
        " AND status <> 'processing'"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE file_key = f.key)"
    )
    return [(key, path) for key, path in rows]


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
    total: Counter[str] = Counter(json.loads(row[0]))
    for kind, count in counts.items():
        # A damaged file must not make a row of any size.
        is_counted = kind in total or len(total) < _MAX_KINDS
        total[kind if is_counted else _OTHER_KINDS] += count
    execute(
        "UPDATE transcript_files SET record_counts = ?2, bad_line_count ="
        " (SELECT count(DISTINCT line) FROM transcript_errors WHERE file_key = ?1)"
        " WHERE key = ?1",
        (key, json.dumps(total)),
    )


def record_failure(path: str, message: str, *, role: str = "session") -> None:
    """Mark a file that can not be read; it is tried again by the next run.

    Args:
        path: Its path.
        message: Why, for people.
        role: Its role, in case that it is not known yet.
    """
    with writing():
        state = find_state(path)
        key = (
            state.key
            if state
            else insert_file(path, filename=path.rsplit("/", 1)[-1], role=role, created_at=now())
        )
        update_file(key, {"status": "error", "error_message": message, "processed_at": now()})
        add_to_total("ingest_failures", 1)
        if state is None or state.status != "error":
            # One that fails is tried again by each run.
            note_file(key, "error")


def mark_pending(path: str, values: dict[str, Any]) -> int:
    """Mark a file that somebody wants read, known or not, and return its key.

    One that is being read stays ``processing``.

    Args:
        path: The path under which an ingest would find it.
        values: Its columns ``filename``, ``role``, ``size`` and ``last_modified``.
    """
    with writing():
        row = fetch_one(
            "INSERT INTO transcript_files"
            " (key, path, filename, role, size, last_modified, created_at)"
            f" VALUES ({_NEXT_KEY}, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET size = excluded.size,"
            " last_modified = excluded.last_modified, error_message = NULL, status ="
            " CASE status WHEN 'processing' THEN status ELSE 'pending' END RETURNING key",
            (
                path,
                values["filename"],
                values["role"],
                values["size"],
                values["last_modified"],
                now(),
            ),
        )
        assert row is not None
        note_file(row[0], "pending")
    return int(row[0])


def mark_reread(key: int) -> None:
    """Mark a file to be read from its start by the next ingest, also after a crash."""
    with writing():
        execute(
            "UPDATE transcript_files SET is_reread = 1, error_message = NULL, status ="
            " CASE status WHEN 'processing' THEN status ELSE 'pending' END WHERE key = ?",
            (key,),
        )
        note_file(key, "pending")


def mark_processing(key: int) -> None:
    """Mark a file whose reading begins."""
    with writing():
        update_file(key, {"status": "processing"})
        note_file(key, "processing")


def find_waiting_paths() -> list[str]:
    """Return the paths of files that somebody wants read, or that were read in part only."""
    rows = fetch_all(
        "SELECT path FROM transcript_files WHERE status IN ('pending', 'processing') OR is_reread"
    )
    return [row[0] for row in rows]


def put_back_interrupted() -> None:
    """Mark what a dead ingest was reading as pending. For the one holder of the ingest lock."""
    if is_any_processing():
        with writing():
            execute("UPDATE transcript_files SET status = 'pending' WHERE status = 'processing'")


def forget_place(key: int) -> None:
    """Let a file that is gone be read from its start if it comes back."""
    update_file(key, {"device": 0, "inode": 0, "tail_hash": None})


def delete_file(key: int) -> None:
    """Forget a file and its bad lines; what was read of it stays."""
    with writing():
        execute(
            "UPDATE totals SET value = max(value, ?) WHERE name = 'last_file_key'",
            (key,),
        )
        execute("DELETE FROM transcript_files WHERE key = ?", (key,))


def get_path(key: int, *, scope: Scope) -> str:
    """Return the path of a file.

    Raises:
        NotFound: There is none.
    """
    row = fetch_one(
        "SELECT path FROM transcript_files WHERE key = ?" + _and_there(scope, "transcript_files"),
        (key,),
    )
    if row is None:
        raise NotFound("file", str(key))
    return str(row[0])


def _and_there(scope: Scope, files: str) -> str:
    """Return what narrows a statement to the files that are there, with its AND.

    A file is there when its conversation is. One without a conversation is there for whom
    everything is; for others when it was uploaded and nothing was read of it, for who uploaded it
    asks how far it is. Of one that has lost its conversation nothing may be told.
    """
    if scope.is_whole:
        return ""
    folder = str(uploads_folder(database.database)).replace("'", "''") + "/"
    return (
        f" AND CASE WHEN {files}.conversation_key IS NULL"
        f" THEN substr({files}.path, 1, length('{folder}')) = '{folder}'"
        f" AND ({files}.status <> 'completed' OR {files}.line_count <= {files}.bad_line_count)"
        " ELSE EXISTS (SELECT 1 FROM conversations c"
        f" WHERE c.key = {files}.conversation_key{scope.and_there('c')}) END"
    )


def list_files(*, scope: Scope, status: str | None, limit: int, offset: int) -> Page:
    """Return one page of files, the most recently changed first.

    Args:
        scope: Whose conversations are there at all.
        status: Only files in this state, one of those that are shown.
        limit: Largest number of rows, 1 to 100.
        offset: How many rows to pass over.
    """
    is_read = _is_anything_read() if status in (None, "pending", "processing") else True
    wanted = "1" if status is None else _in_state(status, is_read=is_read)
    wanted += _and_there(scope, "f")
    values = {"status": status, "limit": limit + 1, "offset": offset}
    counted = fetch_one(f"SELECT count(*) FROM transcript_files f WHERE {wanted}", values)
    rows = fetch_all(
        f"{_FILES} WHERE {wanted} ORDER BY f.last_modified DESC, f.key"
        " LIMIT +:limit OFFSET :offset",
        values,
    )
    return Page(
        rows=[_file(row, is_read=is_read) for row in rows[:limit]],
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def get_file(key: int, *, scope: Scope) -> dict[str, Any]:
    """Return one file with its state, its numbers of records by type and its bad lines.

    Raises:
        NotFound: There is none.
    """
    row = fetch_one(f"{_FILES} WHERE f.key = ?{_and_there(scope, 'f')}", (key,))
    if row is None:
        raise NotFound("file", str(key))
    return {
        **_file(row, is_read=_is_anything_read()),
        "record_counts": dict(sorted(json.loads(row[-1]).items())),
        "bad_lines": _bad_lines(key, limit=100, offset=0),
    }


def get_upload(key: int, *, scope: Scope) -> dict[str, Any]:
    """Return one file as ``get_file`` does, with what the archive has from it.

    It is for who has just uploaded the file, and who is told of it wherever it belongs.

    Args:
        key: Which file.
        scope: Whose conversations are there at all.

    Raises:
        NotFound: There is none.
    """
    file = get_file(key, scope=WHOLE)
    counting = "SELECT count(*) FROM messages WHERE file_key = ?"
    if not scope.is_whole:
        counting = (
            "SELECT count(*) FROM messages m JOIN conversations c ON c.key = m.conversation_key"
            f" WHERE m.file_key = ?{scope.and_there('c')}"
        )
        own = fetch_one(
            f"SELECT c.id FROM conversations c WHERE c.id = ?{scope.and_there('c')}",
            (file["conversation_id"],),
        )
        file["conversation_id"] = own[0] if own else None
    count = fetch_one(counting, (key,))
    found = fetch_all(
        "SELECT DISTINCT c.id FROM messages m JOIN conversations c ON c.key = m.conversation_key"
        f" WHERE m.file_key = ?{scope.and_there('c')} ORDER BY c.key LIMIT 100",
        (key,),
    )
    conversations = [row[0] for row in found]
    if file["conversation_id"] and file["conversation_id"] not in conversations:
        conversations.insert(0, file["conversation_id"])
    return {**file, "message_count": count[0] if count else 0, "conversations": conversations}


def list_errors(key: int, *, scope: Scope, limit: int, offset: int) -> Page:
    """Return one page of the lines of a file that could not be read, in its order.

    Raises:
        NotFound: There is no such file.
    """
    get_path(key, scope=scope)
    row = fetch_one("SELECT count(*) FROM transcript_errors WHERE file_key = ?", (key,))
    rows = _bad_lines(key, limit=limit + 1, offset=offset)
    return Page(
        rows=rows[:limit],
        total=row[0] if row else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def _bad_lines(key: int, *, limit: int, offset: int) -> list[dict[str, Any]]:
    rows = fetch_all(
        "SELECT line, byte_start, byte_end, reason FROM transcript_errors WHERE file_key = ?"
        " ORDER BY line, byte_start LIMIT +? OFFSET ?",
        (key, limit, offset),
    )
    return [
        dict(zip(("line", "byte_start", "byte_end", "reason"), row, strict=True)) for row in rows
    ]


def is_any_processing() -> bool:
    """Tell whether a row says ``processing``."""
    return fetch_one("SELECT 1 FROM transcript_files WHERE status = 'processing'") is not None


def _is_anything_read() -> bool:
    """Tell whether a row that says ``processing`` may be believed: its reader may have died."""
    if not is_any_processing():
        return False
    return is_held(database.database, "ingest")


def _in_state(status: str, *, is_read: bool) -> str:
    """Return the condition for files that are shown in a state; see ``_shown_status``."""
    if status == "processing":
        return "f.status = 'processing'" if is_read else "0"
    if status == "pending":
        waiting = "(f.status = 'pending' OR (f.is_reread AND f.status <> 'processing'){more})"
        return waiting.format(more="" if is_read else " OR f.status = 'processing'")
    return "(f.status = :status AND NOT f.is_reread)"


def _shown_status(status: str, *, is_reread: int, is_read: bool) -> str:
    if status == "processing":
        return "processing" if is_read else "pending"
    return "pending" if is_reread else status


_FILES = """
    SELECT f.key, f.filename, f.path, f.role, c.id, f.size, f.last_modified, f.processed_at,
        f.status, f.error_message, f.line_count + f.has_open_line, f.bad_line_count,
        f.byte_offset, f.created_at, f.is_reread, f.record_counts
    FROM transcript_files f LEFT JOIN conversations c ON c.key = f.conversation_key
"""


def _file(row: tuple[Any, ...], *, is_read: bool) -> dict[str, Any]:
    is_reread = row[14]
    return {
        "id": row[0],
        "filename": row[1],
        "file_path": row[2],
        "role": row[3],
        "conversation_id": row[4],
        "size": row[5],
        "last_modified": row[6],
        "processed_at": row[7],
        "status": _shown_status(row[8], is_reread=is_reread, is_read=is_read),
        "error_message": row[9],
        "line_count": row[10],
        "bad_line_count": row[11],
        "byte_offset": 0 if is_reread else row[12],
        "created_at": row[13],
    }
