"""Building the sums for reports after a migration, and ``observatory verify``, as processes."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.api.sessions import numbered
from tests.processes import Home, finish

# More than are built in one transaction.
CONVERSATIONS = 120
# Builds the sums as a start does, and dies as by kill -9 once some are committed.
DIES = """
import os, signal, sys
from observatory.store import rollup_building
from observatory.store.rollup_building import build_rollups

def build(on_progress):
    def die(done, total):
        print(done, total, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return build_rollups(on_progress=die)

rollup_building.build_rollups = build
from observatory.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> bytes:
    """The bytes of a database with conversations, whose sums are built."""
    home = Home(tmp_path_factory.mktemp("filled"))
    for number in range(CONVERSATIONS):
        transcript = numbered(number, cwd=f"/home/ada/{number % 3}")
        transcript.prompt("hello")
        transcript.tool_use("Bash", {"command": "ls"})
        path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(transcript.bytes())
    assert home.run("ingest").returncode == 0
    return home.database.read_bytes()


@pytest.fixture
def home(tmp_path, filled) -> Home:
    home = Home(tmp_path)
    home.database.parent.mkdir()
    home.database.write_bytes(filled)
    return home


def change(home: Home, *statements: str) -> None:
    """Change the database while no process has it open."""
    connection = sqlite3.connect(home.database)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def read(home: Home, sql: str) -> list[Any]:
    connection = sqlite3.connect(home.database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def make_older(home: Home) -> None:
    """Leave the database as the migration that adds the sums does."""
    change(
        home,
        "UPDATE totals SET value = 0 WHERE name IN ('rollups_version', 'rollups_built_key')",
        *(f"DELETE FROM {table}" for table in TABLES),
        "UPDATE conversations SET place_key = NULL",
        "DELETE FROM places",
    )


TABLES = ("conversation_usage", "conversation_tools", "usage_rollups", "tool_rollups")


def dump(home: Home) -> list[Any]:
    """Return all sums, by the projects of their places, whose keys depend on the past."""
    return [
        sorted(
            read(
                home,
                "SELECT p.project_key, p.above, t.* FROM"
                f" (SELECT * FROM {table}) t LEFT JOIN places p ON p.key = t.place_key",
            ),
            key=str,
        )
        for table in ("usage_rollups", "tool_rollups")
    ]


def test_an_archive_that_was_just_read_needs_no_building(home):
    assert read(home, "SELECT value FROM totals WHERE name = 'rollups_version'") != [(0,)]
    ended = home.run("verify", "--rollups")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(
        r"Counted anew and compared [\d,]+ sums, of 120 conversations: all are equal\.\n",
        ended.stdout,
    )


@pytest.mark.parametrize("command", [("migrate",), ("ingest",), ("user", "list")])
def test_sums_are_built_after_a_migration(home, command):
    before = len(dump(home)[0])
    make_older(home)
    assert home.run(*command).returncode == 0
    assert home.run("verify", "--rollups").returncode == 0
    assert len(dump(home)[0]) == before > 0


def test_building_goes_on_after_kill_9(home):
    make_older(home)
    killed = finish(home.popen("-c", DIES, "migrate"))
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "50 120\n")
    [(built,)] = read(home, "SELECT value FROM totals WHERE name = 'rollups_built_key'")
    assert built == 50
    unfinished = home.run("verify", "--rollups")
    assert unfinished.returncode == 1
    assert "not built" in unfinished.stdout
    # What was built is not built again.
    killed = finish(home.popen("-c", DIES, "migrate"))
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "100 120\n")
    assert home.run("migrate").returncode == 0
    assert home.run("verify", "--rollups").returncode == 0


def test_processes_that_start_at_once_build_one_after_the_other(home):
    make_older(home)
    started = [home.popen("-m", "observatory", "migrate") for _ in range(3)]
    assert [finish(process).returncode for process in started] == [0, 0, 0]
    assert home.run("verify", "--rollups").returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE usage_rollups SET output_tokens = output_tokens + 1 WHERE level = 2",
        "DELETE FROM tool_rollups WHERE level = 3",
        "UPDATE conversation_usage SET prompts = 7 WHERE conversation_key = 3",
        "DELETE FROM conversation_tools WHERE conversation_key = 3",
        "UPDATE conversations SET project_key = 1 + project_key % 3 WHERE key = 3",
    ],
)
def test_a_difference_is_told_and_repaired(home, damage):
    change(home, damage)
    ended = home.run("verify", "--rollups")
    assert ended.returncode == 1
    assert "differ" in ended.stdout
    assert "observatory verify --rollups --repair" in ended.stdout
    told = json.loads(home.run("verify", "--rollups", "--json").stdout)
    assert told["rollups"]["is_equal"] is False
    repaired = home.run("verify", "--rollups", "--repair")
    assert repaired.returncode == 0
    assert repaired.stdout.splitlines()[0] == "Built the sums of 120 conversations anew."
    told = home.run("verify", "--rollups", "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["rollups"] == {
        "is_built": True,
        "is_equal": True,
        "checked": json.loads(told.stdout)["rollups"]["checked"],
        "conversations": 120,
        "different_parts": 0,
        "different_sums": 0,
        "different_places": 0,
        "repaired_conversations": None,
    }


def test_verify_looks_and_makes_nothing(tmp_path: Path):
    home = Home(tmp_path)
    ended = home.run("verify", "--rollups")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "does not exist yet" in ended.stderr
    assert not home.database.exists()
