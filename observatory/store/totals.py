"""Totals over the whole archive, kept in the transactions that change them."""

from __future__ import annotations

from observatory.errors import PreconditionFailed
from observatory.store.database import fetch_all


def read_totals() -> dict[str, int]:
    """Return all totals by name."""
    return dict(fetch_all("SELECT name, value FROM totals"))


def check_revision(revision: int | None) -> None:
    """Return quietly when nothing in the archive was changed after a revision.

    Raises:
        PreconditionFailed: Something was.
    """
    if revision is not None and read_totals()["revision"] > revision:
        raise PreconditionFailed
