"""Which models and tools have series of their own in ``/metrics``: those that came first.

Names come from transcripts, so there may be any number of them. Once it is known, a name keeps its
number as long as anything has it; what has a high one is told together with all others
(docs/decisions/0015-metrics.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count

from observatory.store.database import execute, execute_many, fetch_all

MODEL, TOOL = "model", "tool"
# More are never told apart.
MOST = 100
_NEW = """
    SELECT w.value FROM json_each(?2) w
    WHERE NOT EXISTS (SELECT 1 FROM label_names WHERE kind = ?1 AND name = w.value)
        AND (SELECT count(*) FROM label_names WHERE kind = ?1) < ?3
"""


def note_names(kind: str, names: Iterable[str]) -> None:
    """Give numbers to names that have none, inside a transaction."""
    new = [name for (name,) in fetch_all(_NEW, (kind, json.dumps(sorted(names)), MOST))]
    if not new:
        return
    given = {
        number for (number,) in fetch_all("SELECT number FROM label_names WHERE kind = ?", (kind,))
    }
    # What was forgotten left numbers behind.
    free = (number for number in count(1) if number not in given)
    execute_many(
        "INSERT INTO label_names (kind, name, number) VALUES (?, ?, ?)",
        [(kind, name, next(free)) for name in new],
    )


def forget_gone_names() -> None:
    """Forget the names that nothing in the archive has any more, inside a transaction."""
    for kind, used in (
        (MODEL, "SELECT model FROM api_calls WHERE model IS NOT NULL"),
        (TOOL, "SELECT name FROM tool_uses"),
    ):
        execute(f"DELETE FROM label_names WHERE kind = ? AND name NOT IN ({used})", (kind,))


def list_first_names(kind: str, *, limit: int) -> frozenset[str]:
    """Return the names that came first."""
    rows = fetch_all("SELECT name FROM label_names WHERE kind = ? AND number <= ?", (kind, limit))
    return frozenset(name for (name,) in rows)
