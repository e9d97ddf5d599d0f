"""The search index in parts of bounded size, each of a range of messages."""

from typing import Any

STATEMENTS = (
    # Part 0 is message_search, which has all that was indexed before; part n is message_search_n.
    "CREATE TABLE search_parts (number INTEGER PRIMARY KEY, first_key INTEGER NOT NULL)",
    "INSERT INTO search_parts (number, first_key) VALUES (0, 1)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the table."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
