"""Ranks of several parts of the index on one scale.

bm25 gives a word the more weight, the fewer of a table's rows have it, and tables differ: the
newest part may have three rows. So where candidates come from several parts, each word is weighed
once for all of these parts, as it would be in one table with their rows.

Source: https://sqlite.org/fts5.html#the_bm25_function, and fts5Bm25Function in fts5_aux.c.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson

from observatory.store.database import fetch_one
from observatory.store.search_parts import count_rows

# A word that more than half of all rows have would count against them.
_LEAST_WEIGHT = 1e-6


def weigh_alike(
    found: dict[str, list[tuple[Any, ...]]], terms: Sequence[str], *, is_all: bool
) -> None:
    """Set the ranks of candidates, rows of key, rank and more, to what one table would give them.

    Args:
        found: The candidates of each part by the name of its table; the rows are replaced.
        terms: The words and phrases that were looked for, as FTS5 takes them.
        is_all: Whether that is all that has the only term, but for the last part, which may have
            more.
    """
    row_counts = list(map(count_rows, found))
    total = sum(row_counts)
    parts = list(found.items())
    ranks: defaultdict[int, float] = defaultdict(float)
    for term in terms:
        known = parts[:-1] if is_all else []
        matches = [(len(rows), {row[0]: row[1] for row in rows}) for _, rows in known]
        matches += [_read_matches(table, rows, term) for table, rows in parts[len(known) :]]
        weight = _weigh(total, sum(count for count, _ in matches))
        for rows_of_part, (count, own) in zip(row_counts, matches, strict=True):
            scale = weight / _weigh(rows_of_part, count)
            for key, rank in own.items():
                ranks[key] += rank * scale
    for table, rows in parts:
        # Rounded, so that what is equally good stays so, and the newest of it comes first.
        found[table] = [(row[0], round(ranks[row[0]], 9), *row[2:]) for row in rows]


def _read_matches(
    table: str, rows: list[tuple[Any, ...]], term: str
) -> tuple[int, dict[int, float]]:
    """Return how many rows of a part have a term, and the ranks by key of the candidates."""
    keys = orjson.dumps([row[0] for row in rows]).decode()
    # bm25 has to be asked row by row: the limit keeps SQLite from counting in the same step.
    row = fetch_one(
        "SELECT count(*), json_group_object(key, rank) FILTER (WHERE rank IS NOT NULL) FROM ("
        "SELECT rowid AS key, CASE WHEN +rowid IN (SELECT value FROM json_each(?))"
        f" THEN bm25({table}) END AS rank FROM {table} WHERE {table} MATCH ?"
        " LIMIT -1)",
        (keys, term),
    )
    assert row is not None
    return row[0], {int(key): rank for key, rank in orjson.loads(row[1]).items()}


def _weigh(rows: int, having: int) -> float:
    """Return the weight of a word that so many of so many rows have."""
    return max(math.log((rows - having + 0.5) / (having + 0.5)), _LEAST_WEIGHT)
