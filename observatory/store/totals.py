"""Totals over the whole archive, kept in the transactions that change them."""

from __future__ import annotations

from observatory.store.database import fetch_all, fetch_one


def read_totals() -> dict[str, int]:
    """Return all totals by name."""
    return dict(fetch_all("SELECT name, value FROM totals"))


def read_revision() -> int:
    """Return the archive's revision: it is another one after every change."""
    row = fetch_one("SELECT value FROM totals WHERE name = 'revision'")
    assert row is not None
    return int(row[0])
