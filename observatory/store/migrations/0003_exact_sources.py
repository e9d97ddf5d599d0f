"""Where a model call's numbers come from, and when a file was last changed in any way."""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add both, and the indexes that forgetting a file needs."""
    for statement in (
        "ALTER TABLE transcript_files ADD COLUMN changed_ns INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE api_calls ADD COLUMN usage_file_key INTEGER"
        " REFERENCES transcript_files (key) ON DELETE SET NULL",
        "UPDATE api_calls SET usage_file_key = file_key",
        "CREATE INDEX api_calls_by_file ON api_calls (file_key)",
        # The key of a file is its id in the API: one that was forgotten is not given again.
        "INSERT INTO totals (name, value) VALUES ('last_file_key', 0)",
        "CREATE INDEX api_calls_by_usage_file ON api_calls (usage_file_key)",
    ):
        db.execute_sql(statement)
