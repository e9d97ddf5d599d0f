"""The full-text index: messages are indexed in batches behind the rows, from a watermark.

A crash loses nothing: the watermark moves in the transaction that indexes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from observatory.store.database import count_changes, execute, fetch_one, writing

BATCH_MESSAGES = 4000
# The index gathers this many bytes in memory before it writes a segment (1 MiB by default). Large
# batches make few, large segments, and so little merging.
SEGMENT_BYTES = 16 * 1024 * 1024
# Where FTS5 says of what the index consists.
_STRUCTURE_ROW = 10


def prepare_bulk_indexing() -> None:
    """Let large segments be written. FTS5 keeps the setting in the database, for all processes."""
    with writing():
        execute(
            "INSERT INTO message_search (message_search, rank) VALUES ('hashsize', ?)",
            (SEGMENT_BYTES,),
        )


def empty_index() -> None:
    """Let all messages be indexed again, and index all titles again at once."""
    with writing():
        execute("INSERT INTO message_search (message_search) VALUES ('delete-all')")
        execute("UPDATE totals SET value = 0 WHERE name = 'indexed_message_key'")
        execute("INSERT INTO title_search (title_search) VALUES ('rebuild')")


def index_messages(*, batch_messages: int = BATCH_MESSAGES) -> int:
    """Index the next messages in one transaction and return how many there were; 0 is the end."""
    with writing():
        row = fetch_one(
            "SELECT w.value, (SELECT max(key) FROM (SELECT key FROM messages"
            " WHERE key > w.value ORDER BY key LIMIT ?)) FROM totals w"
            " WHERE w.name = 'indexed_message_key'",
            (batch_messages,),
        )
        assert row is not None
        first, last = row
        if last is None:
            return 0
        _index(first + 1, last)
        execute("UPDATE totals SET value = ? WHERE name = 'indexed_message_key'", (last,))
        return int(last - first)


def index_at_once(first_key: int, last_key: int) -> None:
    """Index messages in the transaction that inserts them, unless others wait before them.

    Those are being read by an ingest, which goes on to these.
    """
    moved = execute(
        "UPDATE totals SET value = ? WHERE name = 'indexed_message_key' AND value >="
        " (SELECT coalesce(max(key), 0) FROM messages WHERE key < ?)",
        (last_key, first_key),
    )
    if moved:
        _index(first_key, last_key)


def _index(first_key: int, last_key: int) -> None:
    execute(
        "INSERT INTO message_search (rowid, text, thinking, tool_input, tool_result, cjk)"
        " SELECT key, text, thinking, tool_input, tool_result, cjk FROM searchable_messages"
        " WHERE key BETWEEN ? AND ?",
        (first_key, last_key),
    )


def forget(keys: Iterable[int]) -> None:
    """Take messages out of the index whose text is about to be another."""
    wanted = json.dumps(list(keys))
    execute(
        "DELETE FROM message_search WHERE rowid IN (SELECT value FROM json_each(?)) AND rowid <="
        " (SELECT value FROM totals WHERE name = 'indexed_message_key')",
        (wanted,),
    )
    execute(
        "DELETE FROM message_cjk WHERE message_key IN (SELECT value FROM json_each(?))", (wanted,)
    )


def index_again(keys: Iterable[int]) -> None:
    """Index messages that came to have text after the watermark had passed them."""
    execute(
        "INSERT INTO message_search (rowid, text, thinking, tool_input, tool_result, cjk)"
        " SELECT key, text, thinking, tool_input, tool_result, cjk FROM searchable_messages"
        " WHERE key IN (SELECT value FROM json_each(?)) AND key <="
        " (SELECT value FROM totals WHERE name = 'indexed_message_key')",
        (json.dumps(list(keys)),),
    )


def count_segments() -> int:
    """Return in how many pieces the index lies; each makes every search look in one place more."""
    row = fetch_one("SELECT block FROM message_search_data WHERE id = ?", (_STRUCTURE_ROW,))
    return 0 if row is None else _read_segments(bytes(row[0]))


def _read_segments(structure: bytes) -> int:
    """Return the number of segments that FTS5's record of its structure tells.

    Source: the comment on "structure record" in fts5_index.c: a 4-byte cookie, 4 bytes more since
    version 2, then varints: levels, segments.
    """
    start = 8 if structure[4:8] == b"\xff\x00\x00\x01" else 4
    numbers: list[int] = []
    while len(numbers) < 2 and start < len(structure):
        value = 0
        for byte in structure[start : start + 9]:
            start += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                break
        numbers.append(value)
    return numbers[1] if len(numbers) == 2 else 0


def merge_segments(*, pages: int = 2000, into_one: bool = False) -> bool:
    """Merge some of the index's pieces, writing about so many pages; tell whether it did.

    All in one go would keep writers waiting. By itself FTS5 merges only where as many pieces of a
    size lie as it takes for that to be worth it.

    Args:
        pages: About how much to write.
        into_one: Whether to go on until there is one piece.
    """
    with writing(moves=None):
        before = count_changes()
        # Source: https://sqlite.org/fts5.html#the_merge_command
        wanted = -pages if into_one else pages
        execute("INSERT INTO message_search (message_search, rank) VALUES ('merge', ?)", (wanted,))
        # One row is the command's own.
        return count_changes() - before > 1


def count_waiting_messages() -> int:
    """Return how many messages are not in the index yet."""
    row = fetch_one(
        "SELECT count(*) FROM messages WHERE key >"
        " (SELECT value FROM totals WHERE name = 'indexed_message_key')"
    )
    return int(row[0]) if row else 0
