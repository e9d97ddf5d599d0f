"""What numbers for Prometheus need kept: names in the order they came, and what was counted."""

from typing import Any

STATEMENTS = (
    # The first of them have series of their own, and what came later has none for good: a series
    # must not jump. So no number is given twice, also when all that a name stood for is gone.
    "CREATE TABLE label_names (kind TEXT NOT NULL CHECK (kind IN ('model', 'tool')),"
    " name TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    # Of those that are there already the most used come first.
    "INSERT INTO label_names SELECT 'model', model, row_number() OVER (ORDER BY count(*) DESC,"
    " model) FROM api_calls GROUP BY model ORDER BY count(*) DESC, model LIMIT 100",
    "INSERT INTO label_names SELECT 'tool', name, row_number() OVER (ORDER BY count(*) DESC, name)"
    " FROM tool_uses WHERE message_key IS NOT NULL GROUP BY name"
    " ORDER BY count(*) DESC, name LIMIT 100",
    "INSERT INTO totals (name, value) VALUES ('ingest_failures', 0),"
    " ('ingest_last_success_at', 0), ('webhook_delivered', 0), ('webhook_dead', 0),"
    " ('webhook_dropped', 0), ('webhook_failed_attempts', 0)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the table, and the totals."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
