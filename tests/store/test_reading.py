"""What one thread reads while a reading is open is of one moment."""

from __future__ import annotations

from pathlib import Path

import peewee
import pytest

from observatory.store.database import Reading, fetch_one
from observatory.store.totals import read_totals


def change(db: Path) -> None:
    """Write from elsewhere, as another process does."""
    # By the same library: two in one process drop each other's locks.
    connection = peewee.sqlite3.connect(db)  # type: ignore[attr-defined]
    with connection:
        connection.execute("INSERT INTO projects (path, name) VALUES ('/new', 'new')")
        connection.execute("UPDATE totals SET value = value + 1 WHERE name = 'revision'")
    connection.close()


def count() -> int:
    row = fetch_one("SELECT count(*) FROM projects")
    assert row is not None
    return int(row[0])


def test_a_reading_shows_one_moment_until_it_is_closed(db):
    reading = Reading()
    assert reading.revision == read_totals()["revision"]
    change(db)
    assert (count(), read_totals()["revision"]) == (0, reading.revision)
    reading.close()
    assert (count(), read_totals()["revision"]) == (1, reading.revision + 1)
    assert Reading().revision == reading.revision + 1


def test_a_reading_that_an_error_interrupts_holds_up_nothing(client, db):
    client.get("/api/conversations/nope", status=404)
    change(db)
    assert count() == 1


@pytest.mark.parametrize("path", ["/api/projects", "/api/projects?limit=0", "/api/nope"])
def test_each_request_sees_what_came_before_it(client, db, path):
    client.get(path, expect_errors=True)
    change(db)
    projects = client.get("/api/projects").json["data"]["projects"]
    assert [project["path"] for project in projects] == ["/new"]
