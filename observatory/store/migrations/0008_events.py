"""What changed, in order, and which conversations go on at the moment."""

from typing import Any

STATEMENTS = (
    # Ids only grow, also when all that was kept has expired. An event points at what it is about
    # and repeats nothing of it: what is removed, masked or hidden later is so in events, too.
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT NOT NULL,"
    " type TEXT NOT NULL, conversation_key INTEGER, subject_key INTEGER, subject_id TEXT,"
    " data TEXT)",
    "CREATE TABLE live_conversations ("
    " conversation_key INTEGER PRIMARY KEY REFERENCES conversations (key) ON DELETE CASCADE,"
    " active_at TEXT NOT NULL)",
    # What a browser shows instead of its credentials where an address may be written down.
    "CREATE TABLE stream_tickets (hash BLOB NOT NULL PRIMARY KEY,"
    " session_key INTEGER REFERENCES sessions (key) ON DELETE CASCADE,"
    " api_key_key INTEGER REFERENCES api_keys (key) ON DELETE CASCADE,"
    " expires_at TEXT NOT NULL,"
    " CHECK ((session_key IS NULL) <> (api_key_key IS NULL))) WITHOUT ROWID",
    "CREATE INDEX stream_tickets_by_session ON stream_tickets (session_key)",
    "CREATE INDEX stream_tickets_by_api_key ON stream_tickets (api_key_key)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables; what happened before has no events."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
