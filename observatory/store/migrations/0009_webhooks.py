"""Addresses that are told of events, and what is to be sent to them."""

from typing import Any

STATEMENTS = (
    # Ids are never given again: a line of the audit log must not name another webhook. The secret
    # is kept as it is, for it signs; position is the id of the last event that was looked at.
    "CREATE TABLE webhooks (key INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL,"
    " description TEXT NOT NULL DEFAULT '', events TEXT NOT NULL DEFAULT '[]',"
    " project_path TEXT, conversation_id TEXT, role TEXT, tool TEXT, secret TEXT NOT NULL,"
    " is_active INTEGER NOT NULL DEFAULT 1, is_limited INTEGER NOT NULL DEFAULT 0,"
    " created_at TEXT NOT NULL, updated_at TEXT NOT NULL, position INTEGER NOT NULL,"
    " dead_in_a_row INTEGER NOT NULL DEFAULT 0,"
    " switched_off TEXT CHECK (switched_off IN ('gone', 'failing')), switched_off_at TEXT,"
    " last_delivered_at TEXT, missed_events_at TEXT)",
    "CREATE TABLE webhook_projects ("
    " webhook_key INTEGER NOT NULL REFERENCES webhooks (key) ON DELETE CASCADE,"
    " project_key INTEGER NOT NULL REFERENCES projects (key) ON DELETE CASCADE,"
    " PRIMARY KEY (webhook_key, project_key)) WITHOUT ROWID",
    "CREATE INDEX webhook_projects_by_project ON webhook_projects (project_key)",
    # The event is pointed at, and read when it is sent; a test has none.
    "CREATE TABLE webhook_deliveries (key INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " webhook_key INTEGER NOT NULL REFERENCES webhooks (key) ON DELETE CASCADE,"
    " event_id INTEGER, event_type TEXT NOT NULL,"
    " status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'dead', 'dropped')),"
    " attempts INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, next_attempt_at TEXT,"
    " last_attempt_at TEXT, last_status INTEGER, last_error TEXT, finished_at TEXT,"
    " CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)))",
    "CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_key, key, status)",
    # What is next: in the order of events, tests before all; and when there is a next.
    "CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (webhook_key, event_id)"
    " WHERE status = 'pending'",
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_key, next_attempt_at)"
    " WHERE status = 'pending'",
    "CREATE INDEX webhook_deliveries_done ON webhook_deliveries (status, finished_at)"
    " WHERE status <> 'pending'",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables; there are no webhooks at first."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
