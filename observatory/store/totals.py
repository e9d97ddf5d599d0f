"""Totals over the whole archive, kept in the transactions that change them."""

from __future__ import annotations

from observatory.store.database import fetch_all


def read_totals() -> dict[str, int]:
    """Return all totals by name."""
    return dict(fetch_all("SELECT name, value FROM totals"))
