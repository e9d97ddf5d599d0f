"""A database that is damaged: never served, never written over, and told with what to do."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.faults.clients import Answer, send
from tests.processes import Home, finish, serving, wait_for
from tests.transcripts_for_tests import Transcript
from tests.watchers import rows, session_path

PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A database with some hundred messages, all of it in the one file."""
    home = Home(tmp_path_factory.mktemp("whole"))
    said = Transcript()
    for number in range(300):
        said.prompt(f"prompt {number} " + "word " * 200)
        said.answer(f"answer {number}")
    session_path(home, said).write_bytes(said.bytes())
    assert home.run("ingest").returncode == 0
    rows(home, "PRAGMA wal_checkpoint (TRUNCATE)")
    return home.database


@pytest.fixture
def home(tmp_path, whole) -> Home:
    home = Home(tmp_path)
    home.database.parent.mkdir(parents=True)
    shutil.copy(whole, home.database)
    return home


def pages_of(path: Path, name: str) -> list[int]:
    """Return the numbers of the pages of a table or an index, the first one first."""
    with sqlite3.connect(path) as connection:
        # dbstat is not in every build: the pages of a tree are found from its root here.
        [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,))
    connection.close()
    return [int(root[0]), *children(path.read_bytes(), int(root[0]))]


def children(data: bytes, page: int) -> list[int]:
    """Return the pages below a page of a tree of a table."""
    start = (page - 1) * PAGE
    if data[start] != 5:  # No interior page of a table.
        return []
    count = int.from_bytes(data[start + 3 : start + 5])
    cells = [int.from_bytes(data[start + 12 + 2 * n : start + 14 + 2 * n]) for n in range(count)]
    below = [int.from_bytes(data[start + cell : start + cell + 4]) for cell in cells]
    below.append(int.from_bytes(data[start + 8 : start + 12]))
    return [each for child in below for each in (child, *children(data, child))]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def damage_header(path: Path) -> None:
    overwrite(path, 0, b"\xff" * 100)


def damage_schema(path: Path) -> None:
    overwrite(path, 100, b"\xff" * (PAGE - 100))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3 // PAGE * PAGE)


def replace(path: Path) -> None:
    path.write_bytes(b"Dear diary, this is no database. " * 1000)


def damage_table(path: Path) -> None:
    for page in pages_of(path, "totals"):
        overwrite(path, (page - 1) * PAGE, b"\xff" * PAGE)


DAMAGES = [damage_header, damage_schema, truncate, replace, damage_table]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_until_it_refuses(home: Home, command: str) -> subprocess.CompletedProcess[str]:
    """Return how a command ended, which must not touch the database; nor may it go on with it."""
    before = digest(home.database)
    process = home.popen("-m", "observatory", command)

    def is_decided() -> bool:
        return process.poll() is not None or digest(home.database) != before

    try:
        wait_for(is_decided, what=f"{command} to refuse the damaged database")
    finally:
        # It starts others, which end with it.
        process.terminate()
    ended = finish(process)
    assert digest(home.database) == before, "the damaged database was written over"
    return ended


@pytest.mark.parametrize("command", ["serve", "watch", "migrate", "ingest"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_start_is_refused_and_the_file_left(home, damage, command):
    damage(home.database)
    ended = run_until_it_refuses(home, command)
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    assert "can not be used" in ended.stderr
    assert any(word in ended.stderr for word in ("restore", "another kind of file"))


def check_told(answer: Answer) -> None:
    """Assert that an answer says what is the matter and what to do."""
    assert (answer.status, answer.body["code"]) == (503, "NOT_READY"), answer
    assert "restore" in answer.body["error"] or "another kind" in answer.body["error"]
    assert "retry-after" in answer.headers


def test_a_running_server_says_so_and_answers_what_it_can(home):
    """Pages that were read before stay in the memory of a worker: only the others fail."""
    key = home.make_key()
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        server.key = key
        pages = pages_of(home.database, "messages")
        assert len(pages) > 20
        for page in pages:
            overwrite(home.database, (page - 1) * PAGE, b"\xff" * PAGE)
        [conversation] = server.data("/api/conversations")["conversations"]
        path = f"/api/conversations/{conversation['id']}/messages"
        for answer in (
            send(server, "GET", path),
            send(server, "GET", "/api/search?q=word"),
            send(server, "GET", f"/api/conversations/{conversation['id']}/export"),
        ):
            check_told(answer)
        assert "request_failed" not in server.log.read_text()


@pytest.mark.parametrize("damage", DAMAGES[:4])
def test_a_running_server_whose_file_is_destroyed_answers_503(home, damage):
    key = home.make_key()
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        server.key = key
        rows(home, "PRAGMA wal_checkpoint (TRUNCATE)")
        damage(home.database)
        for method, path in (("GET", "/api/conversations"), ("POST", "/api/conversations")):
            body = {"title": "more"} if method == "POST" else None
            check_told(send(server, method, path, body))
        assert server.get("/health")[0] == 200
        assert server.get("/health/ready")[0] == 503
        assert "request_failed" not in server.log.read_text()
