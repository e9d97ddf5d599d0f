"""Accounts, their sign-ins and keys, who may see which project, and what was done by whom."""

from typing import Any

STATEMENTS = (
    # Ids are never given again: a key or a log line of a removed account must not name another.
    "CREATE TABLE users (key INTEGER PRIMARY KEY AUTOINCREMENT,"
    " email TEXT NOT NULL UNIQUE, name TEXT NOT NULL DEFAULT '',"
    " role TEXT NOT NULL CHECK (role IN ('admin', 'member', 'viewer', 'analyst')),"
    " password_hash TEXT NOT NULL, is_disabled INTEGER NOT NULL DEFAULT 0,"
    " created_at TEXT NOT NULL, updated_at TEXT NOT NULL, last_login_at TEXT)",
    # Without a user: who runs the server signed in by a link.
    "CREATE TABLE sessions (key INTEGER PRIMARY KEY AUTOINCREMENT,"
    " user_key INTEGER REFERENCES users (key) ON DELETE CASCADE,"
    " kind TEXT NOT NULL CHECK (kind IN ('token', 'cookie')),"
    " selector TEXT NOT NULL UNIQUE, secret_hash BLOB NOT NULL,"
    " created_at TEXT NOT NULL, expires_at TEXT NOT NULL)",
    "CREATE INDEX sessions_by_user ON sessions (user_key)",
    "CREATE INDEX sessions_by_expiry ON sessions (expires_at)",
    # Without a user: made by who runs the server.
    "CREATE TABLE api_keys (key INTEGER PRIMARY KEY AUTOINCREMENT,"
    " user_key INTEGER REFERENCES users (key) ON DELETE CASCADE,"
    " name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, prefix TEXT NOT NULL,"
    " scopes TEXT NOT NULL, is_limited INTEGER NOT NULL DEFAULT 0,"
    " created_at TEXT NOT NULL, expires_at TEXT, last_used_at TEXT, revoked_at TEXT)",
    "CREATE INDEX api_keys_by_user ON api_keys (user_key)",
    "CREATE TABLE api_key_projects ("
    " api_key_key INTEGER NOT NULL REFERENCES api_keys (key) ON DELETE CASCADE,"
    " project_key INTEGER NOT NULL REFERENCES projects (key) ON DELETE CASCADE,"
    " PRIMARY KEY (api_key_key, project_key)) WITHOUT ROWID",
    "CREATE INDEX api_key_projects_by_project ON api_key_projects (project_key)",
    "ALTER TABLE projects ADD COLUMN visibility TEXT NOT NULL DEFAULT 'everyone'"
    " CHECK (visibility IN ('everyone', 'listed'))",
    "CREATE TABLE project_users ("
    " project_key INTEGER NOT NULL REFERENCES projects (key) ON DELETE CASCADE,"
    " user_key INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,"
    " PRIMARY KEY (project_key, user_key)) WITHOUT ROWID",
    "CREATE INDEX project_users_by_user ON project_users (user_key)",
    "CREATE TABLE one_time_tokens (hash BLOB NOT NULL PRIMARY KEY,"
    " purpose TEXT NOT NULL CHECK (purpose IN ('setup', 'link')), expires_at TEXT NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE audit_log (key INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT NOT NULL,"
    " action TEXT NOT NULL, actor TEXT, actor_name TEXT, target TEXT, address TEXT,"
    " request_id TEXT, details TEXT NOT NULL DEFAULT '{}')",
    "CREATE INDEX audit_log_by_action ON audit_log (action, key)",
    "CREATE INDEX audit_log_by_actor ON audit_log (actor, key)",
    "INSERT INTO totals (name, value) VALUES ('auth_revision', 1)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the tables; all projects stay visible to everyone who may read."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
