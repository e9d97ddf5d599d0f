"""Where conversations stand, and whether they have messages of their own, in the index that tells
when they were active.
"""

from typing import Any

STATEMENTS = (
    "DROP INDEX conversations_by_span",
    "CREATE INDEX conversations_by_span ON conversations"
    " (updated_at, created_at, place_key, kind, message_count > copied_message_count)"
    " WHERE deleted_at IS NULL",
)
_ANALYSIS_LIMIT = 400


def up(migrator: Any, db: Any) -> None:
    """Make the index anew, and let SQLite know it as it knew the one before."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
    tables = {name for (name,) in db.execute_sql("SELECT name FROM sqlite_master").fetchall()}
    if "sqlite_stat1" in tables:
        db.execute_sql(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
        db.execute_sql("ANALYZE conversations_by_span")
    if "sqlite_stat4" in tables:
        # Samples would outlive what they are of (store/maintenance.py).
        db.execute_sql("DELETE FROM sqlite_stat4")
