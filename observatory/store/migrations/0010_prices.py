"""Placeholder until the prices land."""

from typing import Any


def up(migrator: Any, db: Any) -> None:
    """Add the parts of a cost."""
    for name in ("input", "output", "cache_write", "cache_read", "uncached"):
        db.execute_sql(f"ALTER TABLE api_calls ADD COLUMN {name}_cost_nanodollars INTEGER")
