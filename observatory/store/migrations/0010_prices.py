"""Own prices of the operator, what each part of a call cost, and what it was priced with."""

from typing import Any

STATEMENTS = (
    # Rates are picodollars per token: some that are published are no whole nanodollars.
    "CREATE TABLE prices (model TEXT NOT NULL, valid_from TEXT NOT NULL, input INTEGER NOT NULL,"
    " output INTEGER NOT NULL, cache_write_5m INTEGER NOT NULL, cache_write_1h INTEGER NOT NULL,"
    " cache_read INTEGER NOT NULL, fast_multiplier INTEGER NOT NULL DEFAULT 1,"
    " source TEXT NOT NULL, created_at TEXT NOT NULL,"
    " PRIMARY KEY (model, valid_from)) WITHOUT ROWID",
    "ALTER TABLE api_calls ADD COLUMN input_cost_nanodollars INTEGER",
    "ALTER TABLE api_calls ADD COLUMN output_cost_nanodollars INTEGER",
    "ALTER TABLE api_calls ADD COLUMN cache_write_cost_nanodollars INTEGER",
    "ALTER TABLE api_calls ADD COLUMN cache_read_cost_nanodollars INTEGER",
    "ALTER TABLE api_calls ADD COLUMN uncached_cost_nanodollars INTEGER",
    # The client's own word, which has no parts and which no other price changes.
    "ALTER TABLE api_calls ADD COLUMN is_cost_reported INTEGER NOT NULL DEFAULT 0",
    # own_prices is a hash of the table, priced_with one of all that decides costs; the calls of
    # conversations up to priced_key were priced with that, and those above it were not yet.
    "INSERT INTO totals (name, value) VALUES ('own_prices', 0), ('priced_with', 0),"
    " ('priced_key', 0)",
)


def up(migrator: Any, db: Any) -> None:
    """Add them; calls are priced anew, with their parts, when transcripts are next read."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
