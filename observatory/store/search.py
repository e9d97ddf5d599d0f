"""The full-text index: messages are indexed in batches behind the rows, from a watermark.

A crash loses nothing: the watermark moves in the transaction that indexes.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from observatory.store import search_parts as parts
from observatory.store.database import execute, fetch_one, writing
from observatory.store.putting_off import put_off

BATCH_MESSAGES = 4000


def prepare_bulk_indexing() -> None:
    """Let large segments be written, until further notice."""
    with writing():
        parts.allow_large_segments(parts.find_newest().table)


def empty_index() -> None:
    """Let all messages be indexed again, and index all titles again at once."""
    with writing():
        parts.drop_parts()
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
    put_off(_index_new, (first_key, last_key))


def _index_new(ranges: list[tuple[int, int]]) -> None:
    """Index messages whose keys follow each other: nobody else inserts any meanwhile."""
    first_key, last_key = ranges[0][0], ranges[-1][1]
    moved = execute(
        "UPDATE totals SET value = ? WHERE name = 'indexed_message_key' AND value >="
        " (SELECT coalesce(max(key), 0) FROM messages WHERE key < ?)",
        (last_key, first_key),
    )
    if moved:
        _index(first_key, last_key)


def _index(first_key: int, last_key: int) -> None:
    """Index messages into the newest part, and begin the next where that is full."""
    part = parts.find_newest()
    while last_key - part.first >= parts.PART_KEYS:
        end = max(part.first + parts.PART_KEYS, first_key) - 1
        _insert(part, "key BETWEEN ? AND ?", (first_key, end))
        # Where messages were deleted keys are missing, and no part is begun for those.
        row = fetch_one("SELECT min(key) FROM messages WHERE key > ?", (end,))
        assert row is not None
        part, first_key = parts.begin_part(row[0]), row[0]
    _insert(part, "key BETWEEN ? AND ?", (first_key, last_key))


def _insert(part: parts.Part, wanted: str, values: tuple[Any, ...]) -> None:
    """Insert the texts of the messages for which a condition holds."""
    execute(
        f"INSERT INTO {part.table} (rowid, {parts.COLUMNS})"
        f" SELECT key, {parts.COLUMNS} FROM searchable_messages WHERE {wanted}",
        values,
    )


def forget(keys: Iterable[int]) -> None:
    """Take messages out of the index whose text is about to be another."""
    wanted = sorted(keys)
    for part, within in _divide(wanted):
        execute(
            f"DELETE FROM {part.table} WHERE rowid IN (SELECT value FROM json_each(?))"
            " AND rowid <= (SELECT value FROM totals WHERE name = 'indexed_message_key')",
            (json.dumps(within),),
        )
    execute(
        "DELETE FROM message_cjk WHERE message_key IN (SELECT value FROM json_each(?))",
        (json.dumps(wanted),),
    )


def index_again(keys: Iterable[int]) -> None:
    """Index messages that came to have text after the watermark had passed them."""
    for part, within in _divide(sorted(keys)):
        _insert(
            part,
            "key IN (SELECT value FROM json_each(?)) AND key <="
            " (SELECT value FROM totals WHERE name = 'indexed_message_key')",
            (json.dumps(within),),
        )


def _divide(keys: list[int]) -> Iterator[tuple[parts.Part, list[int]]]:
    """Yield the parts that keys in order belong to, each with its keys."""
    for part in parts.list_parts() if keys else ():
        within = keys[bisect_left(keys, part.first) : bisect_right(keys, part.last)]
        if within:
            yield part, within


def count_segments() -> int:
    """Return in how many pieces the index lies; a search for what is rare looks into each."""
    return sum(parts.count_segments(part.table) for part in parts.list_parts())


def count_spare_segments() -> int:
    """Return how many of the pieces could be merged into others."""
    return sum(max(0, parts.count_segments(part.table) - 1) for part in parts.list_parts())


def merge_segments(*, pages: int = 2000, into_one: bool = False) -> bool:
    """Merge some of the index's pieces, writing about so many pages; tell whether it did.

    All in one go would keep writers waiting. By itself FTS5 merges only where as many pieces of a
    size lie as it takes for that to be worth it. What is not the newest part comes to be one piece:
    nothing is added to it any more.

    Args:
        pages: About how much to write.
        into_one: Whether to go on until there is one piece in each part.
    """
    listed = parts.list_parts()
    for part in listed:
        if parts.count_segments(part.table) < 2:
            continue
        is_whole = into_one or part is not listed[-1]
        with writing(moves=None):
            if parts.merge(part.table, -pages if is_whole else pages):
                return True
    return False


def count_waiting_messages() -> int:
    """Return how many messages are not in the index yet."""
    row = fetch_one(
        "SELECT count(*) FROM messages WHERE key >"
        " (SELECT value FROM totals WHERE name = 'indexed_message_key')"
    )
    return int(row[0]) if row else 0
