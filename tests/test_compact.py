"""``observatory compact``: gives room back, and loses nothing, with a server beside it or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.filled_homes import change, fill, read
from tests.processes import Home, serving


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A home with conversations, and room in its database that nothing is in."""
    home = Home(tmp_path_factory.mktemp("filled"))
    fill(home, 5)
    change(
        home.database,
        "CREATE TABLE padding (a)",
        "INSERT INTO padding VALUES (zeroblob(3000000))",
        "DELETE FROM padding",
        "DROP TABLE padding",
    )
    return home.folder


@pytest.fixture
def home(tmp_path, filled) -> Home:
    shutil.copytree(filled, tmp_path / "home")
    return Home(tmp_path / "home")


def compact(home: Home, *options: str) -> dict[str, Any]:
    ended = home.run("compact", "--json", *options)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def messages(home: Home) -> list[Any]:
    return read(home.database, "SELECT * FROM messages ORDER BY key")


def test_room_is_given_back_and_nothing_lost(home):
    before = messages(home)
    told = compact(home)
    assert told["bytes_before"] > told["bytes_after"] + 3_000_000
    assert told["bytes_after"] == home.database.stat().st_size
    assert told["log_bytes_after"] == 0
    assert messages(home) == before
    assert home.database.stat().st_mode & 0o777 == 0o600
    assert home.run("verify").returncode == 0
    assert not list(home.database.parent.glob(".restoring-*"))
    assert not list(home.database.parent.glob("*before*"))
    assert home.run("ingest").returncode == 0


def test_it_goes_beside_a_server(home):
    with serving(home, "--no-ingest") as server:
        number = len(server.data("/api/conversations")["conversations"])
        told = compact(home)
        assert told["bytes_before"] > told["bytes_after"] + 3_000_000
        assert len(server.data("/api/conversations")["conversations"]) == number
        server.post("/api/conversations", {"title": "after"})
    assert home.run("verify").returncode == 0


def test_a_server_is_not_kept_waiting_for_long(home):
    change(
        home.database,
        "CREATE TABLE padding (a)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)"
        " INSERT INTO padding SELECT zeroblob(1000000) FROM n",
    )
    before = home.database.stat().st_ino
    with serving(home, "--no-ingest"):
        ended = home.run("compact")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "would wait for 6 s" in ended.stderr
        assert "--force" in ended.stderr
    assert home.database.stat().st_ino == before
    assert home.run("compact").returncode == 0


def test_the_search_index_is_made_anew(home):
    change(home.database, "UPDATE messages SET content = 'a hippopotamus' WHERE key = 3")
    assert home.run("verify").returncode == 1
    assert compact(home, "--reindex")["is_reindexed"] is True
    assert home.run("verify").returncode == 0
    with serving(home, "--no-ingest") as server:
        assert server.data("/api/search?q=hippopotamus")["pagination"]["total"] == 1


def test_it_waits_for_an_ingest_only_when_asked(home):
    holding = home.popen(
        "-c",
        "import signal, sys\nfrom observatory.store.locks import held\n"
        "with held(sys.argv[1], 'ingest'):\n    print('held', flush=True)\n    signal.pause()\n",
        str(home.database),
    )
    try:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "held\n"
        ended = home.run("compact")
        assert ended.returncode == 75
        assert f"Process {holding.pid}" in ended.stderr
    finally:
        holding.kill()
        holding.communicate()
