"""Whether a conversation has messages of its own, in the index that tells when it was active."""

from typing import Any

STATEMENTS = (
    "DROP INDEX conversations_by_span",
    "CREATE INDEX conversations_by_span ON conversations"
    " (updated_at, created_at, project_key, kind, message_count > copied_message_count)"
    " WHERE deleted_at IS NULL",
)


def up(migrator: Any, db: Any) -> None:
    """Make the index anew."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
