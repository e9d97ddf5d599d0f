"""Totals over the whole archive, kept in the transactions that change them."""

from __future__ import annotations

from observatory.errors import PreconditionFailed
from observatory.store.database import execute, fetch_all, fetch_one


def read_totals() -> dict[str, int]:
    """Return all totals by name."""
    return dict(fetch_all("SELECT name, value FROM totals"))


def read_total(name: str) -> int:
    """Return one of the totals."""
    row = fetch_one("SELECT value FROM totals WHERE name = ?", (name,))
    assert row is not None
    return int(row[0])


def add_to_total(name: str, number: int) -> None:
    """Add to one of the totals."""
    if number:
        execute("UPDATE totals SET value = value + ? WHERE name = ?", (number, name))


def set_total(name: str, value: int) -> None:
    """Set one of the totals."""
    execute("UPDATE totals SET value = ? WHERE name = ?", (value, name))


def check_revision(revision: int | None) -> None:
    """Return quietly when nothing in the archive was changed after a revision.

    Raises:
        PreconditionFailed: Something was.
    """
    if revision is not None and read_totals()["revision"] > revision:
        raise PreconditionFailed
