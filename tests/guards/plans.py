"""What SQLite would do for a statement, and what of that costs more as an archive grows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from observatory.store.database import close, connect, execute, fetch_all, writing

# Tables that grow with what is said; others have a few rows for each project, key or account.
LARGE = (
    "messages",
    "conversations",
    "api_calls",
    "tool_uses",
    "transcript_files",
    "events",
    "message_search",
    "title_search",
    "message_cjk",
    "conversation_usage",
    "conversation_tools",
    "conversation_files",
    "usage_rollups",
    "tool_rollups",
    "file_rollups",
    "file_paths",
)
_SCAN = re.compile(r"SCAN (\w+)(?P<how>.*)")
_SORT = "USE TEMP B-TREE FOR ORDER BY"
# Full text: without an M there are no words that are looked for.
_MATCHES = re.compile(r"VIRTUAL TABLE INDEX \d+:\S*M")
_READS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "REPLACE")


def pretend_growth(factor: int) -> None:
    """Let SQLite believe that each analyzed table has so many times as many rows."""
    for name, index, stat in fetch_all("SELECT tbl, idx, stat FROM sqlite_stat1"):
        rows, *others = stat.split()
        grown = " ".join([str(int(rows) * factor), *others])
        with writing(moves=None):
            execute(
                "UPDATE sqlite_stat1 SET stat = ? WHERE tbl = ? AND idx IS ?", (grown, name, index)
            )
    # What it knows is read when a connection is opened.
    close()
    connect()


def find_faults(sql: str) -> Iterator[str]:
    """Yield the steps of a statement that read or sort more rows, the more there are."""
    if not sql.lstrip().startswith(_READS):
        return
    steps = [row[3] for row in fetch_all(f"EXPLAIN QUERY PLAN {sql}")]
    is_sorted = _SORT in steps
    for step in steps:
        scanned = _SCAN.match(step)
        if scanned and _is_large(scanned[1], sql) and not _MATCHES.search(step):
            # In the order of an index, up to a limit: as many rows as are shown.
            is_walk = "USING" in step and "LIMIT" in sql and not is_sorted
            if not is_walk and not _is_shown_for_inserting(sql):
                yield step
    if is_sorted and any(re.search(rf"\b{name}\b", sql) for name in LARGE):
        yield _SORT


def _is_large(name: str, sql: str) -> bool:
    """Tell whether a name in a plan is a large table, or stands for one."""
    if name in LARGE:
        return True
    tables = "|".join(LARGE)
    return re.search(rf"\b({tables})\s+(AS\s+)?{name}\b", sql) is not None


def _is_shown_for_inserting(sql: str) -> bool:
    """Tell whether a statement inserts values: plans of its triggers say SCAN for the new row."""
    return sql.startswith("INSERT") and "VALUES" in sql and "RETURNING" in sql
