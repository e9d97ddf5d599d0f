"""What ``observatory verify`` finds in the connected database."""

from __future__ import annotations

from observatory.store.database import execute, fetch_all, one_moment
from observatory.store.verifying import Check, prepare_verifying, verify_database


def find_faults() -> list[Check]:
    """Return the checks that find something wrong; what is made for them is dropped again."""
    prepare_verifying()
    with one_moment():
        faults = [check for check in verify_database() if check.wrong]
    for (table,) in fetch_all("SELECT name FROM temp.sqlite_master WHERE name LIKE '%_words'"):
        execute(f"DROP TABLE temp.{table}")
    return faults
