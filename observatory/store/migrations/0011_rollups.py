"""Sums by time, place, model and tool, which reports are read from."""

from typing import Any

COUNTED = (
    "messages", "prompts", "interruptions", "api_errors", "retries", "sessions", "subagents",
    "api_calls", "unpriced_calls", "unpriced_tokens", "undercounted_calls",
    "undercounted_output_tokens", "input_tokens", "output_tokens",
    "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens", "web_search_requests", "cost_nanodollars",
    "input_cost_nanodollars", "output_cost_nanodollars", "cache_write_cost_nanodollars",
    "cache_read_cost_nanodollars", "uncached_cost_nanodollars",
)  # fmt: skip
TIMED = (
    "uses", "failures", "timed_uses", "duration_ms", "max_ms",
    *(f"under_{number}" for number in range(25)),
)  # fmt: skip
USED = (
    "reads", "edits", "writes", "reworks", "editing_conversations", "conversations", "last_at",
)  # fmt: skip


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} INTEGER NOT NULL" for name in names)


STATEMENTS = (
    # Where a conversation stands for who may see it: its project, and those of all above it. 0 is
    # no project. Keys are never given again: rollups of a place that went are not another's.
    "CREATE TABLE places (key INTEGER PRIMARY KEY AUTOINCREMENT, project_key INTEGER NOT NULL,"
    " above TEXT NOT NULL, UNIQUE (project_key, above))",
    "ALTER TABLE conversations ADD COLUMN place_key INTEGER",
    "CREATE TABLE conversation_usage ("
    " conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,"
    " start INTEGER NOT NULL, model TEXT NOT NULL, place_key INTEGER NOT NULL,"
    f" {_columns(COUNTED)}, PRIMARY KEY (conversation_key, start, model)) WITHOUT ROWID",
    "CREATE INDEX conversation_usage_by_time ON conversation_usage (start, model, place_key)",
    "CREATE TABLE conversation_tools ("
    " conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,"
    " start INTEGER NOT NULL, tool TEXT NOT NULL, status TEXT NOT NULL,"
    " category TEXT NOT NULL, place_key INTEGER NOT NULL,"
    f" {_columns(TIMED)},"
    " PRIMARY KEY (conversation_key, start, tool, status, category)) WITHOUT ROWID",
    "CREATE INDEX conversation_tools_by_time ON conversation_tools"
    " (start, tool, status, category, place_key)",
    # Level 1 is an hour, 2 a day, 3 a month, all in UTC; 5 to 7 are the same over all models, or
    # all tools. Place 0 is all places.
    "CREATE TABLE usage_rollups (level INTEGER NOT NULL, place_key INTEGER NOT NULL,"
    " start INTEGER NOT NULL, model TEXT NOT NULL,"
    f" {_columns(COUNTED)}, PRIMARY KEY (level, place_key, start, model)) WITHOUT ROWID",
    "CREATE TABLE tool_rollups (level INTEGER NOT NULL, place_key INTEGER NOT NULL,"
    " start INTEGER NOT NULL, tool TEXT NOT NULL, status TEXT NOT NULL, category TEXT NOT NULL,"
    f" {_columns(TIMED)},"
    " PRIMARY KEY (level, place_key, start, tool, status, category)) WITHOUT ROWID",
    # They are built after the migration: 'rollups_version' is of the code that they were built
    # by, and 'rollups_built_key' of the last conversation that is in them while that goes on.
    "INSERT INTO totals (name, value) SELECT 'rollups_version',"
    " NOT EXISTS (SELECT 1 FROM conversations) UNION ALL SELECT 'rollups_built_key', 0",
    # Not stored but in the index; so it is never other than the parameters, also when those are
    # masked.
    "ALTER TABLE tool_uses ADD COLUMN path TEXT GENERATED ALWAYS AS"
    " (coalesce(parameters ->> '$.file_path', parameters ->> '$.notebook_path')) VIRTUAL",
    "CREATE INDEX tool_uses_of_files ON tool_uses"
    " (conversation_key, started_at, path, name, status) WHERE path IS NOT NULL",
    "CREATE TABLE file_paths (key INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE)",
    "CREATE TABLE conversation_files ("
    " conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,"
    " start INTEGER NOT NULL, path_key INTEGER NOT NULL, place_key INTEGER NOT NULL,"
    f" {_columns(USED)}, PRIMARY KEY (conversation_key, start, path_key)) WITHOUT ROWID",
    "CREATE INDEX conversation_files_by_time ON conversation_files (start, path_key, place_key)",
    "CREATE INDEX conversation_files_by_path ON conversation_files (path_key, start)",
    "CREATE TABLE file_rollups (level INTEGER NOT NULL, place_key INTEGER NOT NULL,"
    " start INTEGER NOT NULL, path_key INTEGER NOT NULL,"
    f" {_columns(USED)}, PRIMARY KEY (level, place_key, start, path_key)) WITHOUT ROWID",
    "CREATE INDEX tool_uses_by_duration ON tool_uses"
    " (execution_time_ms, started_at, name, conversation_key) WHERE execution_time_ms >= 1000",
    "CREATE INDEX api_calls_by_time ON api_calls (created_at, conversation_key)",
    "CREATE INDEX conversations_by_cost ON conversations (cost_nanodollars, key)"
    " WHERE deleted_at IS NULL",
    "CREATE INDEX conversations_by_span ON conversations"
    " (updated_at, created_at, project_key, kind)"
    " WHERE deleted_at IS NULL",
    "CREATE INDEX conversations_by_length ON conversations"
    " (unixepoch(updated_at) - unixepoch(created_at), created_at, updated_at, project_key)"
    " WHERE deleted_at IS NULL",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables, and the indexes that reports need."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
