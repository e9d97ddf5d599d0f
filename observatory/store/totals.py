"""Totals over the whole archive, kept in the transactions that change them."""

from __future__ import annotations

from observatory.errors import PreconditionFailed
from observatory.store.database import execute, fetch_all, fetch_one, writing


def read_totals() -> dict[str, int]:
    """Return all totals by name."""
    return dict(fetch_all("SELECT name, value FROM totals"))


def read_archive_id() -> int:
    """Return the number that this archive was given when its server started."""
    row = fetch_one("SELECT value FROM totals WHERE name = 'archive_id'")
    assert row is not None
    return int(row[0])


def check_revision(revision: int | None) -> None:
    """Return quietly when nothing in the archive was changed after a revision.

    Raises:
        PreconditionFailed: Something was.
    """
    if revision is not None and read_totals()["revision"] > revision:
        raise PreconditionFailed


def renew_archive_id() -> None:
    """Give the archive another number: at each start, for its file may be another or an older one.

    Tags that clients hold of it say nothing of this one (api/etags.py).
    """
    with writing():
        execute(
            "UPDATE totals SET value = abs(random() % 4294967296) WHERE name = 'archive_id'",
        )
