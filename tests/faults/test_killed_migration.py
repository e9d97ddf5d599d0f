"""Migrations of a database with much in it that are killed at any moment, again and again.

One that fails by itself is in store/test_migrations.py and test_cli.py.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from observatory.store import schema
from tests.ingest.dumps import QUERIES
from tests.processes import DEADLINE_SECONDS, Home
from tests.watchers import rows

KILLS = 5
OLD = "0003"
MESSAGES = 20_000
MAKE = """
import sys
from pathlib import Path
from observatory.store import schema
from observatory.store.database import configure, connect
schema.MIGRATIONS = Path(sys.argv[1])
configure(sys.argv[2])
connect()
schema.migrate()
"""
# Every third message is in Chinese, which one of the migrations reads anew.
FILL = (
    "INSERT INTO conversations (id, kind, source, title, created_at, updated_at)"
    " WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :messages / 100)"
    " SELECT 'c' || n, 'session', 'api', '标题 ' || n, :moment, :moment FROM n",
    "INSERT INTO messages (id, conversation_key, position, role, kind, created_at, content)"
    " WITH n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < :messages - 1)"
    " SELECT 'm' || n, n / 100 + 1, n % 100 + 1, 'user', 'answer', :moment,"
    " CASE n % 3 WHEN 0 THEN '你好 ' || n ELSE 'word ' || n END FROM n",
    "INSERT INTO tool_uses (conversation_key, tool_use_id, message_key, name, status, parameters,"
    " result) SELECT conversation_key, 't' || key, key, 'Read', 'success',"
    " json_object('file_path', '/src/' || key % 500), 'text ' || key FROM messages",
)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    """A database of an older version, with much in it."""
    folder = tmp_path_factory.mktemp("old")
    migrations = folder / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    for file in migrations.glob("[0-9]*.py"):
        if file.name[:4] > OLD:
            file.unlink()
    path = folder / "old.db"
    subprocess.run([sys.executable, "-c", MAKE, str(migrations), str(path)], check=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in FILL:
            values = {"messages": MESSAGES, "moment": "2026-03-04T05:06:07.890Z"}
            connection.execute(statement, values)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()
    return path


def home_with(folder: Path, old: Path) -> Home:
    home = Home(folder)
    home.database.parent.mkdir(parents=True)
    shutil.copy(old, home.database)
    return home


def held_by(home: Home) -> dict[str, Any]:
    """Return the schema of an archive, and what is in it."""
    assert rows(home, "PRAGMA integrity_check") == [("ok",)]
    assert rows(home, "PRAGMA foreign_key_check") == []
    held = {name: rows(home, query) for name, query in QUERIES.items()}
    held["schema"] = rows(home, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    held["sums"] = rows(home, "SELECT * FROM tool_rollups")
    held["found"] = rows(
        home, "SELECT count(*) FROM message_search WHERE message_search MATCH 'text'"
    )
    return held


def migrate(home: Home, *, until_bytes: float = float("inf")) -> int:
    """Migrate until its log of writes has so many bytes; return how many it had at most."""
    log = home.database.with_name(home.database.name + "-wal")
    size = 0
    child = home.popen("-m", "observatory", "migrate")
    while child.poll() is None:
        with suppress(FileNotFoundError):
            size = max(size, log.stat().st_size)
        if size > until_bytes:
            child.kill()
    _, errors = child.communicate(timeout=DEADLINE_SECONDS)
    assert child.returncode in (0, -signal.SIGKILL), errors
    return size if child.returncode else -size


def test_the_next_start_goes_on_and_nothing_is_damaged(tmp_path, old):
    clean, killed = home_with(tmp_path / "clean", old), home_with(tmp_path / "killed", old)
    largest = -migrate(clean)
    assert largest > 1_000_000
    interrupted, done = 0, []
    for number in range(KILLS):
        if number % 2 == 0:
            # What was killed late leaves little to kill: begin again.
            for path in killed.database.parent.iterdir():
                path.unlink()
            shutil.copy(old, killed.database)
        interrupted += migrate(killed, until_bytes=largest * number / KILLS) > 0
        [(count, last)] = rows(killed, f"SELECT count(*), max(name) FROM {schema.TABLE}")
        # What is noted as applied is, one after another, and the rest is not.
        assert rows(killed, "PRAGMA integrity_check") == [("ok",)]
        assert int(last[:4]) == count
        assert rows(killed, "SELECT count(*) FROM messages") == [(MESSAGES,)]
        done.append(count)
    assert interrupted >= KILLS / 2
    print(f"killed {interrupted} times, up to {largest} bytes; migrations done by then: {done}")
    ended = killed.run("migrate")
    assert ended.returncode == 0, ended.stderr
    assert held_by(killed) == held_by(clean)
    assert killed.run("verify", "--rollups").returncode == 0
