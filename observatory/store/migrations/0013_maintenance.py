"""What the watcher does to keep the archive in order, and for how long conversations are kept."""

from typing import Any

STATEMENTS = (
    # One row for each kind of work: how it went the last time.
    "CREATE TABLE maintenance (name TEXT NOT NULL PRIMARY KEY, last_run_at TEXT NOT NULL,"
    " duration_ms INTEGER NOT NULL, result TEXT NOT NULL, is_good INTEGER NOT NULL,"
    " next_at TEXT) WITHOUT ROWID",
    # No row is the server's default; no days keep a project's conversations for ever.
    "CREATE TABLE project_retention ("
    " project_key INTEGER PRIMARY KEY REFERENCES projects (key) ON DELETE CASCADE,"
    " days INTEGER CHECK (days > 0),"
    " action TEXT NOT NULL DEFAULT 'trash' CHECK (action IN ('trash', 'remove')),"
    " updated_at TEXT NOT NULL)",
    # Somebody wanted it back: that counts as activity.
    "CREATE TABLE restored_conversations ("
    " conversation_key INTEGER PRIMARY KEY REFERENCES conversations (key) ON DELETE CASCADE,"
    " restored_at TEXT NOT NULL)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables; everything is kept for ever at first."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
