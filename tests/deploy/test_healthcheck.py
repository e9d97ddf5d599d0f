"""The command of the image's HEALTHCHECK: servers that can work, that can not, and none at all."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.deploy.proxies import DEPLOY
from tests.processes import DEADLINE_SECONDS, Home, Server, free_port, serving


def command() -> list[str]:
    """Return the command of the Dockerfile, with this Python and the file that is copied."""
    text = (DEPLOY / "Dockerfile").read_text()
    [found] = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", text, re.MULTILINE)
    program, script = json.loads(found)
    [source] = re.findall(rf"^COPY (\S+) {re.escape(script)}$", text, re.MULTILINE)
    assert program == "python"
    return [sys.executable, str(DEPLOY.parent / source)]


def check(**variables: str) -> tuple[int, str]:
    """Return the exit code and what is said."""
    # A proxy must not be asked about the server of this container.
    environment = {"http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        command(),
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert not done.stderr
    return done.returncode, done.stdout.strip()


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    with serving(Home(tmp_path), "--no-ingest", WEB_WORKERS="1") as server:
        yield server


def test_a_server_that_can_work_is_healthy(server):
    assert check(PORT=str(server.port)) == (0, "ready")
    for host in ("0.0.0.0", "127.0.0.1", "localhost", ""):
        assert check(PORT=str(server.port), HOST=host) == (0, "ready")


def test_one_whose_database_is_of_a_newer_version_is_not(server):
    with closing(sqlite3.connect(server.home.database)) as connection:
        later = "INSERT INTO schema_migrations (name, applied) VALUES ('9999_later', '2030-01-01')"
        connection.execute(later)
        connection.commit()
    code, said = check(PORT=str(server.port))
    assert code == 1
    assert "9999_later" in said


def test_one_that_has_ended_is_not(server):
    server.stop()
    code, said = check(PORT=str(server.port))
    assert code == 1
    assert said.startswith(f"nobody answers on 127.0.0.1:{server.port}: ")


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Answer one request with these bytes; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("answer", [b"", b"220 mail.example.org\r\n"])
def test_who_speaks_otherwise_is_not(answer):
    with answering(answer) as port:
        code, said = check(PORT=str(port))
    assert (code, said.count("\n")) == (1, 0)
    assert said.startswith("nobody answers on ")


def test_another_answer_is_told_by_its_status():
    with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n[]") as port:
        assert check(PORT=str(port)) == (1, "answer 404")


@pytest.mark.parametrize("port", ["http", "0", "-1", "65536"])
def test_a_wrong_port_is_named(port):
    assert check(PORT=port) == (1, "PORT takes a whole number from 1 to 65535")


def test_nobody_listens():
    assert check(PORT=str(free_port()))[0] == 1
