"""A file can be marked to be read from its start again."""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add the mark: it outlives a crash between the request and the reading."""
    db.execute_sql("ALTER TABLE transcript_files ADD COLUMN is_reread INTEGER NOT NULL DEFAULT 0")
