"""The server does what its own OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, Home, Server, serving
from tests.transcripts_for_tests import Transcript

# For a longer run: SCHEMATHESIS_EXAMPLES=100 .venv/bin/python -m pytest tests/test_schemathesis.py
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "2")
SEED = os.environ.get("SCHEMATHESIS_SEED", "20260104")


def write_transcript(home: Home) -> None:
    transcript = Transcript()
    transcript.prompt("hello")
    transcript.answer("hi")
    transcript.tool_use("Bash", {"command": "ls"}, tool_use_id="toolu_1")
    transcript.tool_result("a", tool_use_id="toolu_1")
    folder = home.projects / "-work"
    folder.mkdir(parents=True)
    (folder / f"{transcript.session_id}.jsonl").write_bytes(transcript.bytes())


def make_safe_key(home: Home) -> str:
    """Return a key with an id that nobody happens to revoke."""
    key = home.make_key()
    connection = sqlite3.connect(home.database)
    with connection:
        connection.execute("UPDATE api_keys SET key = ?", (2**53 - 111,))
    connection.close()
    return key


def check_document(server: Server, credentials: str, *choice: str) -> None:
    """Ask a server whatever its document allows and forbids, for all operations or some."""
    found = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            "--config-file", ROOT / "tests" / "schemathesis.toml",
            "run", f"http://127.0.0.1:{server.port}/openapi.json",
            "--header", f"Authorization: Bearer {credentials}", *choice,
            "--max-examples", EXAMPLES, "--seed", SEED, "--continue-on-failure", "--no-color",
        ],
        cwd=server.home.folder,
        env=server.home.environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )  # fmt: skip
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Traceback" not in server.log.read_text()
    assert "request_failed" not in server.log.read_text()


def test_the_server_does_what_its_document_says(tmp_path: Path):
    home = Home(tmp_path)
    write_transcript(home)
    assert home.run("migrate").returncode == 0
    assert home.run("ingest").returncode == 0
    key = make_safe_key(home)
    with serving(home) as server:
        check_document(server, key)


def test_it_does_for_people_too(tmp_path: Path):
    """What is for people alone; but signing out would end what is asked with."""
    with serving(Home(tmp_path), "--no-ingest") as server:
        account = {"email": "ada@example.org", "password": "no example has this"}
        server.post("/api/users", {**account, "role": "admin"})
        token = server.post("/api/auth/login", account)["access_token"]
        paths = ("/api/auth/profile", "/api/auth/password")
        choice = [f"--include-path={path}" for path in paths]
        check_document(server, token, *choice, "--phases=examples,coverage,fuzzing")
