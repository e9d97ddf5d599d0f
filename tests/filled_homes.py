"""Homes with an archive in it, for tests of commands that look at or replace the database."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.api.sessions import numbered, session_id
from tests.processes import Home
from tests.transcripts_for_tests import Transcript


def transcript(number: int) -> Transcript:
    """Return a numbered session with a prompt, a tool and an answer, which are of today."""
    made = numbered(number, cwd=f"/home/ada/{number % 3}")
    made.prompt(f"please look at the parser {number}")
    made.tool_use("Bash", {"command": f"ls src{number}"})
    made.tool_result("a b c")
    made.answer("漢字 and the parser")
    return made


def write(home: Home, number: int, made: Transcript | None = None) -> Path:
    """Write the transcript of a numbered session where it is read by default."""
    path = home.projects / "-work" / f"{session_id(number)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((made or transcript(number)).bytes())
    return path


def fill(home: Home, conversations: int) -> None:
    """Read so many transcripts into an archive."""
    for number in range(conversations):
        write(home, number)
    ended = home.run("ingest")
    assert ended.returncode == 0, ended.stderr


def change(path: Path, *statements: str) -> None:
    """Change a database while no process has it open."""
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def read(path: Path, sql: str) -> list[Any]:
    """Return what a statement finds in a database."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return of all files below a folder what shows that somebody wrote to them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_size if path.is_file() else 0,
            status.st_mtime_ns,
        )
    return found
