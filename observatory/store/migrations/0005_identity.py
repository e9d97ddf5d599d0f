"""The archive has a name of its own, and remembers which messages were removed for good."""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add both: a tag of one archive says nothing of another, and no reading brings back a row."""
    db.execute_sql(
        "INSERT INTO totals (name, value) VALUES ('archive_id', abs(random() % 4294967296))"
    )
    db.execute_sql(
        "CREATE TABLE deleted_messages (id TEXT NOT NULL, conversation_id TEXT NOT NULL,"
        " PRIMARY KEY (id, conversation_id)) WITHOUT ROWID"
    )
    # Of those that were removed before it is not known: empty stands for either.
    db.execute_sql("ALTER TABLE deleted_conversations ADD COLUMN kind TEXT NOT NULL DEFAULT ''")
