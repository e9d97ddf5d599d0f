"""What lists and states are read from at once: sums of projects, totals, and orders of lists."""

from typing import Any

# What a project has of its conversations that are not in the trash: a column, and of what it is
# the sum.
SUMS = {
    "conversation_count": "1",
    "session_count": "({row}.kind = 'session')",
    **{
        name: f"{{row}}.{name}"
        for name in (
            "message_count", "tool_use_count", "error_count", "api_call_count",
            "unpriced_call_count", "input_tokens", "output_tokens", "cache_creation_input_tokens",
            "cache_read_input_tokens", "total_tokens", "cost_nanodollars",
        )
    },
}  # fmt: skip
_COUNTED = tuple(name for name, value in SUMS.items() if value == f"{{row}}.{name}")
_CHANGING = ("project_key", "deleted_at", "kind", *_COUNTED)


def _add(sign: str, row: str) -> str:
    columns = ", ".join(
        f"{name} = {name} {sign} {value.format(row=row)}" for name, value in SUMS.items()
    )
    return (
        f"UPDATE projects SET {columns} WHERE key = {row}.project_key AND {row}.deleted_at IS NULL;"
    )


def _differ(names: tuple[str, ...]) -> str:
    return " OR ".join(f"old.{name} IS NOT new.{name}" for name in names)


def _total(messages: str, tool_uses: str) -> str:
    return (
        f"UPDATE totals SET value = value + iif(name = 'messages', {messages}, {tool_uses})"
        " WHERE name IN ('messages', 'tool_uses');"
    )


STATEMENTS = (
    *(f"ALTER TABLE projects ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0" for name in SUMS),
    f"UPDATE projects SET ({', '.join(SUMS)}) = (SELECT "
    + ", ".join(f"coalesce(sum({value.format(row='c')}), 0)" for value in SUMS.values())
    + " FROM conversations c WHERE c.project_key = projects.key AND c.deleted_at IS NULL)",
    # All that are kept, in the trash or not; of tool uses those that have a message.
    "INSERT INTO totals (name, value) SELECT 'messages', coalesce(sum(message_count), 0)"
    " FROM conversations UNION ALL SELECT 'tool_uses', coalesce(sum(tool_use_count), 0)"
    " FROM conversations",
    "CREATE TRIGGER conversations_summed AFTER INSERT ON conversations BEGIN "
    + _add("+", "new")
    + _total("new.message_count", "new.tool_use_count")
    + " END",
    "CREATE TRIGGER conversations_taken_off AFTER DELETE ON conversations BEGIN "
    + _add("-", "old")
    + _total("- old.message_count", "- old.tool_use_count")
    + " END",
    f"CREATE TRIGGER conversations_summed_anew AFTER UPDATE OF {', '.join(_CHANGING)}"
    f" ON conversations WHEN {_differ(_CHANGING)} BEGIN "
    + _add("-", "old")
    + _add("+", "new")
    + _total("new.message_count - old.message_count", "new.tool_use_count - old.tool_use_count")
    + " END",
)
INDEXES = {
    # Its first activity; the last is in conversations_by_project.
    "conversations_by_project_start": "conversations (project_key, created_at)"
    " WHERE deleted_at IS NULL",
    "conversations_failed": "conversations (error_count)"
    " WHERE deleted_at IS NULL AND error_count > 0",
    "tool_uses_in_order": "tool_uses (conversation_key) WHERE message_key IS NOT NULL",
    "transcript_files_by_change": "transcript_files (last_modified DESC, key)",
    "transcript_files_in_work": "transcript_files (status) WHERE status = 'processing'",
}
_ANALYSIS_LIMIT = 400


def up(migrator: Any, db: Any) -> None:
    """Add the sums and keep them by triggers, and add the indexes."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
    for name, indexed in INDEXES.items():
        db.execute_sql(f"CREATE INDEX {name} ON {indexed}")
    if "sqlite_stat1" in _list_tables(db):
        _look_at_indexes(db)


def _look_at_indexes(db: Any) -> None:
    """Let SQLite know the new ones as it knows the others: else it takes them for better ones."""
    db.execute_sql(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
    for name in INDEXES:
        db.execute_sql(f"ANALYZE {name}")
    if "sqlite_stat4" in _list_tables(db):
        # Samples would outlive what they are of (store/maintenance.py).
        db.execute_sql("DELETE FROM sqlite_stat4")


def _list_tables(db: Any) -> set[str]:
    return {name for (name,) in db.execute_sql("SELECT name FROM sqlite_master").fetchall()}
