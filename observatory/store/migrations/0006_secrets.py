"""The archive remembers where a secret was found, and never which one it was."""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add the findings, and how far old rows were looked through."""
    for statement in (
        "CREATE TABLE secret_findings (key INTEGER PRIMARY KEY,"
        " message_key INTEGER REFERENCES messages (key) ON DELETE CASCADE,"
        " conversation_key INTEGER REFERENCES conversations (key) ON DELETE CASCADE,"
        " kind TEXT NOT NULL, place TEXT NOT NULL, hash TEXT NOT NULL, count INTEGER NOT NULL,"
        " created_at TEXT NOT NULL,"
        " CHECK ((message_key IS NULL) <> (conversation_key IS NULL)))",
        "CREATE UNIQUE INDEX secret_findings_by_message"
        " ON secret_findings (message_key, kind, place, hash) WHERE message_key IS NOT NULL",
        "CREATE UNIQUE INDEX secret_findings_by_conversation"
        " ON secret_findings (conversation_key, kind, place, hash)"
        " WHERE conversation_key IS NOT NULL",
        "CREATE INDEX secret_findings_by_hash ON secret_findings (kind, hash, message_key)",
        "INSERT INTO totals (name, value) VALUES ('secrets_masked_key', 0),"
        " ('secrets_flagged_key', 0)",
    ):
        db.execute_sql(statement)
