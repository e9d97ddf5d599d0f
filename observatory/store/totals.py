"""Totals over the whole archive, kept in the transactions that change them."""

from __future__ import annotations

from observatory.store.database import fetch_all, fetch_one


def read_totals() -> dict[str, int]:
    """Return all totals by name."""
    return dict(fetch_all("SELECT name, value FROM totals"))


def read_archive_id() -> int:
    """Return the number that this archive was given when it was made."""
    row = fetch_one("SELECT value FROM totals WHERE name = 'archive_id'")
    assert row is not None
    return int(row[0])
