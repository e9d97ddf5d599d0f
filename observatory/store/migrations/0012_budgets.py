"""Limits of what may be spent in a day, week or month."""

from typing import Any

STATEMENTS = (
    # Ids are never given again: an event or a line of the audit log must not name another budget.
    # The project is a path: it may come later, or be merged. What was told of is noted, so that a
    # threshold is told of once in a period.
    "CREATE TABLE budgets (key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " period TEXT NOT NULL CHECK (period IN ('day', 'week', 'month')),"
    " timezone TEXT NOT NULL, project_path TEXT, model TEXT,"
    " limit_nanodollars INTEGER CHECK (limit_nanodollars > 0),"
    " limit_tokens INTEGER CHECK (limit_tokens > 0),"
    " created_at TEXT NOT NULL, updated_at TEXT NOT NULL, noted_period TEXT,"
    " noted_percent INTEGER NOT NULL DEFAULT 0,"
    " CHECK ((limit_nanodollars IS NULL) <> (limit_tokens IS NULL)))",
)


def up(migrator: Any, db: Any) -> None:
    """Add the table; there are no budgets at first."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
