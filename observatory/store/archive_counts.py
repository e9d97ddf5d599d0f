"""How much the whole archive holds, for who looks after it."""

from __future__ import annotations

from observatory.store.database import fetch_all

_COUNTS = {
    "conversations": "SELECT value FROM totals WHERE name = 'conversations'",
    "trashed_conversations": "SELECT count(*) FROM conversations WHERE deleted_at IS NOT NULL",
    "messages": "SELECT value FROM totals WHERE name = 'messages'",
    "tool_uses": (
        "SELECT value + (SELECT count(*) FROM tool_uses WHERE message_key IS NULL)"
        " FROM totals WHERE name = 'tool_uses'"
    ),
    "files": "SELECT count(*) FROM transcript_files",
    "events": "SELECT count(*) FROM events",
    "deliveries": "SELECT count(*) FROM webhook_deliveries",
    "audit_entries": "SELECT count(*) FROM audit_log",
}


def count_everything() -> dict[str, int]:
    """Return how many rows there are of what; those that grow with what is said are kept."""
    sql = ", ".join(f"({counting})" for counting in _COUNTS.values())
    [row] = fetch_all(f"SELECT {sql}")
    return dict(zip(_COUNTS, row, strict=True))


def find_last_reading() -> str | None:
    """Return when a transcript was read last, or ``None``."""
    [(moment,)] = fetch_all("SELECT max(processed_at) FROM transcript_files")
    return str(moment) if moment is not None else None
