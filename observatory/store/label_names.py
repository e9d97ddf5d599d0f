"""Which models and tools have series of their own in ``/metrics``: those that came first.

Names come from transcripts, so there may be any number of them. Once it is known, a name keeps its
number for good; what has a high one is told together with all others
(docs/decisions/0015-metrics.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from observatory.store.database import execute, fetch_all

MODEL, TOOL = "model", "tool"
# More are never told apart.
MOST = 100
_NOTE = f"""
    INSERT INTO label_names (kind, name, number)
    SELECT ?1, w.value, (SELECT coalesce(max(number), 0) FROM label_names WHERE kind = ?1)
        + row_number() OVER ()
    FROM json_each(?2) w
    WHERE NOT EXISTS (SELECT 1 FROM label_names WHERE kind = ?1 AND name = w.value)
        AND (SELECT count(*) FROM label_names WHERE kind = ?1) < {MOST}
"""


def note_names(kind: str, names: Iterable[str]) -> None:
    """Give numbers to names that have none, inside a transaction."""
    execute(_NOTE, (kind, json.dumps(sorted(names))))


def list_first_names(kind: str, *, limit: int) -> frozenset[str]:
    """Return the names that came first."""
    rows = fetch_all("SELECT name FROM label_names WHERE kind = ? AND number <= ?", (kind, limit))
    return frozenset(name for (name,) in rows)
