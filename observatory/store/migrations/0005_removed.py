"""The archive remembers which messages were removed for good, and what kind a conversation was."""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add both, so that no reading brings them back."""
    db.execute_sql(
        "CREATE TABLE deleted_messages (id TEXT NOT NULL, conversation_id TEXT NOT NULL,"
        " PRIMARY KEY (id, conversation_id)) WITHOUT ROWID"
    )
    # Of those that were removed before it is not known: empty stands for either.
    db.execute_sql("ALTER TABLE deleted_conversations ADD COLUMN kind TEXT NOT NULL DEFAULT ''")
