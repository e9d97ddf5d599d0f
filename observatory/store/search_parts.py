"""The parts of the full-text index, each of which has the messages of a range of keys.

To weigh a word FTS5 counts all its matches in a table, to find a beginning it merges all words that
have it, and to merge segments it writes all of them again. All three are bounded by the size of a
part, and who looks for what stands everywhere looks into the newest parts only
(docs/decisions/0023-search-in-parts.md).
"""

from __future__ import annotations

from typing import NamedTuple

from observatory.store.database import count_changes, execute, fetch_all, fetch_one

# So many keys of messages; copies have a key, and are not indexed.
PART_KEYS = 30_000
COLUMNS = "text, thinking, tool_input, tool_result, cjk"
# The index gathers this many bytes in memory before it writes a segment (1 MiB by default). Large
# batches make few, large segments, and so little merging.
SEGMENT_BYTES = 16 * 1024 * 1024
# Keys are smaller: it is the last one of the newest part.
NO_END = 2**63 - 1
# Where FTS5 says of what a table consists, and how many rows are in it.
_STRUCTURE_ROW = 10
_AVERAGES_ROW = 1


class Part(NamedTuple):
    """A table of FTS5 with the messages from one key to another, both included."""

    number: int
    first: int
    last: int

    @property
    def table(self) -> str:
        """The name of the table."""
        return name_table(self.number)


def name_table(number: int) -> str:
    """Return the name of the table of a part."""
    return f"message_search_{number}" if number else "message_search"


def list_parts() -> list[Part]:
    """Return all parts, the oldest first; there is one at least."""
    rows = fetch_all("SELECT number, first_key FROM search_parts ORDER BY number")
    ends = [first - 1 for _, first in rows[1:]] + [NO_END]
    return [Part(number, first, end) for (number, first), end in zip(rows, ends, strict=True)]


def find_newest() -> Part:
    """Return the part that new messages go into."""
    row = fetch_one("SELECT number, first_key FROM search_parts ORDER BY number DESC LIMIT 1")
    assert row is not None
    number, first = row
    return Part(number, first, NO_END)


def begin_part(first_key: int) -> Part:
    """Begin the next part, which has the messages from a key on, and return it."""
    part = Part(find_newest().number + 1, first_key, NO_END)
    execute(
        f"CREATE VIRTUAL TABLE {part.table} USING fts5 ({COLUMNS}, content = 'searchable_messages',"
        " content_rowid = 'key', tokenize = \"unicode61 remove_diacritics 2\")"
    )
    allow_large_segments(part.table)
    execute("INSERT INTO search_parts (number, first_key) VALUES (?, ?)", (part.number, first_key))
    return part


def allow_large_segments(table: str) -> None:
    """Let large segments be written. FTS5 keeps the setting in the database, for all processes."""
    execute(f"INSERT INTO {table} ({table}, rank) VALUES ('hashsize', ?)", (SEGMENT_BYTES,))


def drop_parts() -> None:
    """Empty the index, down to one part."""
    for part in list_parts()[1:]:
        execute(f"DROP TABLE {part.table}")
    execute("DELETE FROM search_parts WHERE number > 0")
    execute("INSERT INTO message_search (message_search) VALUES ('delete-all')")


def merge(table: str, pages: int) -> bool:
    """Merge some of the segments of a table, writing about so many pages; tell whether it did.

    Args:
        table: A table of FTS5.
        pages: How much to write; below 0 what lies there is to be one segment in the end.
    """
    before = count_changes()
    # Source: https://sqlite.org/fts5.html#the_merge_command
    execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (pages,))
    # One row is the command's own.
    return count_changes() - before > 1


def count_segments(table: str) -> int:
    """Return in how many pieces a table lies; each makes every search look in one place more.

    Source: the comment on "structure record" in fts5_index.c: a 4-byte cookie, 4 bytes more since
    version 2, then varints: levels, segments.
    """
    structure = _read_record(table, _STRUCTURE_ROW)
    start = 8 if structure[4:8] == b"\xff\x00\x00\x01" else 4
    numbers = _read_varints(structure[start:], 2)
    return numbers[1] if len(numbers) == 2 else 0


def count_rows(table: str) -> int:
    """Return how many rows are in a table.

    Source: the comment on "averages record" in fts5_index.c: varints, of which the first is that.
    """
    numbers = _read_varints(_read_record(table, _AVERAGES_ROW), 1)
    return numbers[0] if numbers else 0


def _read_record(table: str, row: int) -> bytes:
    found = fetch_one(f"SELECT block FROM {table}_data WHERE id = ?", (row,))
    return b"" if found is None else bytes(found[0])


def _read_varints(record: bytes, wanted: int) -> list[int]:
    """Return the first numbers of a record, in SQLite's form of up to nine bytes each."""
    numbers: list[int] = []
    start = 0
    while len(numbers) < wanted and start < len(record):
        value = 0
        for place, byte in enumerate(record[start : start + 9]):
            start += 1
            if place == 8:
                value = value << 8 | byte
                break
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                break
        numbers.append(value)
    return numbers
