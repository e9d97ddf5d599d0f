"""Uploads to a real server: in pieces, interrupted, killed, beside others, in little memory."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.processes import DEADLINE_SECONDS, Home, Server, serving, wait_for
from tests.programs import find_program
from tests.test_api_docs import BASE, LINES
from tests.test_server import workers_of
from tests.transcripts_for_tests import Transcript

PATH = "/api/files/upload"
MAX_RSS_MB = 200


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("uploading"))


@pytest.fixture(scope="module")
def server(home) -> Iterator[Server]:
    with serving(home, "--no-ingest", WEB_WORKERS="1", MAX_REQUEST_SIZE_MB="100") as server:
        yield server


def post(server: Server, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of an answer; a body that is no bytes is sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    try:
        headers = {"Content-Type": "application/x-ndjson", **server.credentials(), **headers}
        connection.request("POST", PATH, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def session_of(number: int, turns: int = 2, text: str = "hello") -> bytes:
    transcript = Transcript(f"{number:08d}-0000-4000-8000-000000000000", prefix=f"{number}.")
    for _ in range(turns):
        transcript.prompt(text)
    return transcript.bytes()


def left_of(home: Home) -> list[Path]:
    """Return what lies where uploads arrive."""
    return list((home.database.parent / "uploads" / ".incoming").glob("*"))


def begin(server: Server, *, headers: bytes) -> socket.socket:
    """Send the beginning of an upload."""
    connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)
    head = b"POST /api/files/upload HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/x-ndjson\r\n" + headers + b"\r\n"
    connection.sendall(server.signed(head))
    return connection


def memory_mb(pid: int) -> int:
    """Return the most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


def test_a_body_in_chunks(server):
    status, answer = post(server, iter([session_of(1)[:100], session_of(1)[100:]]))
    assert (status, answer["data"]["message_count"]) == (201, 2)


def test_a_large_upload_takes_little_memory(server):
    text = "word " * 20_000
    status, answer = post(server, session_of(2, turns=700, text=text))
    assert (status, answer["data"]["message_count"]) == (201, 700)
    assert answer["data"]["size"] > 70_000_000
    [worker] = workers_of(server.process.pid, 1)
    assert memory_mb(worker) < MAX_RSS_MB


@pytest.mark.parametrize(
    ("headers", "start", "rest"),
    [
        (b"Content-Length: 1000000\r\n", b"x" * 500_000, b""),
        (b"Transfer-Encoding: chunked\r\n", b"7a120\r\n" + b"x" * 400_000, b"x" * 100_000),
        (b"Transfer-Encoding: chunked\r\n", b"f4240\r\n" + b"x" * 1_000_000, b"\r\nrubbish\r\n"),
        # So little waits for the rest before anything is done with it.
        (b"Transfer-Encoding: chunked\r\n", b"3\r\n{}\n\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\n{}\n\r\nrubbish\r\n", b""),
    ],
)
def test_an_interrupted_upload_leaves_nothing_behind(server, home, headers, start, rest):
    before = server.data("/api/files")["pagination"]["total"]
    with begin(server, headers=headers) as connection:
        connection.sendall(start)
        if len(start) > 100_000:
            wait_for(lambda: left_of(home), what="the upload to begin")
        connection.sendall(rest)
    wait_for(lambda: not left_of(home), what="its end")
    assert server.data("/api/files")["pagination"]["total"] == before
    assert post(server, session_of(3))[0] in (200, 201)
    assert "request_failed" not in server.log.read_text()


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_too_large_is_refused(server, home, declared):
    size = 101 * 1024 * 1024
    headers = {"Content-Length": str(size)} if declared else {}
    pieces = (b"\n" * 1024 * 1024 for _ in range(101))
    status, answer = post(server, pieces, **headers)
    assert (status, answer["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert left_of(home) == []


def test_a_killed_upload_is_cleaned_up_by_the_next(tmp_path):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="1") as server:
        [worker] = workers_of(server.process.pid, 1)
        with begin(server, headers=b"Content-Length: 1000000\r\n") as connection:
            connection.sendall(b"x" * 100_000)
            wait_for(lambda: left_of(home), what="the upload to begin")
            os.kill(worker, signal.SIGKILL)
            wait_for(server.is_up, what="the next worker")
        assert left_of(home)
        assert post(server, session_of(1))[0] == 201
        assert left_of(home) == []


def test_a_killed_upload_is_cleaned_up_at_the_start(tmp_path):
    home = Home(tmp_path)
    left = home.database.parent / "uploads" / ".incoming" / "dead"
    left.mkdir(parents=True)
    (left / "body").write_bytes(b"half")
    with serving(home, "--no-ingest") as server:
        assert left_of(home) == []
        assert server.data("/api/files")["files"] == []


def test_a_file_of_the_transcripts_folder_is_read_on_request(tmp_path):
    home = Home(tmp_path)
    path = home.projects / "-work" / "x.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(session_of(1))
    with serving(home, "--no-ingest") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        connection.request(
            "POST",
            "/api/files/process-jsonl",
            body=json.dumps({"file_path": str(path)}),
            headers={"Content-Type": "application/json", **server.credentials()},
        )
        answer = connection.getresponse()
        key = json.loads(answer.read())["data"]["id"]
        connection.close()
        assert answer.status == 202
        wait_for(
            lambda: server.data(f"/api/files/{key}")["status"] == "completed", what="the reading"
        )
        assert server.data("/api/conversations/x")["message_count"] == 2
        assert server.stop() == 0


def test_the_curl_lines_of_the_documentation_work(tmp_path):
    find_program("curl")
    home = Home(tmp_path)
    path = home.projects / "x.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(session_of(1))
    (tmp_path / "SESSION.jsonl").write_bytes(session_of(2))
    lines = [line.replace("\\\n", " ") for line in LINES if "/api/files/" in line]
    with serving(home, "--no-ingest") as server:
        statuses: list[str] = []
        for line in lines:
            line = line.replace(BASE, f"http://127.0.0.1:{server.port}")
            line = line.replace("/home/ada/.claude/projects", str(home.projects))
            line = line.replace("$KEY", server.credentials()["Authorization"].split()[1])
            command = [*shlex.split(line), "-o", "/dev/null", "-w", "%{http_code}"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
            statuses.append(done.stdout)
            for key in server.data("/api/files")["files"]:
                wait_for(
                    lambda key=key["id"]: server.data(f"/api/files/{key}")["status"] == "completed",
                    what="the readings",
                )
    # The two lines before the first upload find no file yet.
    assert statuses == ["404", "404", "201", "200", "202", "202", "200"]


def test_many_uploads_at_once_are_each_kept_once(tmp_path):
    home = Home(tmp_path)
    numbers = [number for number in range(1, 9) for _ in range(3)]
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda number: post(server, session_of(number)), numbers))
        assert {status for status, _ in answers} <= {200, 201, 202}
        assert len({answer["data"]["file_path"] for _, answer in answers}) == 8
        wait_for(
            lambda: server.data("/api/files?status=completed")["pagination"]["total"] == 8,
            what="all readings",
        )
        assert server.data("/api/files")["pagination"]["total"] == 8
        found = server.data("/api/conversations")["conversations"]
        assert [row["message_count"] for row in found] == [2] * 8
        assert left_of(home) == []
