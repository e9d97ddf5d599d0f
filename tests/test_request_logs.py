"""What a real server logs of requests: one line each, and nothing that was sent."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.processes import DEADLINE_SECONDS, Home, Server, serving, wait_for
from tests.transcripts_for_tests import Transcript

PLANTED = "pLaNtEd"
HEADERS = (
    "Authorization", "X-API-Key", "Cookie", "User-Agent", "Referer", "Origin", "Accept",
    "Accept-Encoding", "Accept-Language", "If-None-Match", "If-Match", "Idempotency-Key",
    "Content-Type", "Content-Encoding", "Forwarded", "X-Forwarded-Host", "X-Forwarded-For",
    "X-Forwarded-Proto", "Host", "Range", "Sec-WebSocket-Key", "Upgrade", "Via", "Expect",
    "Access-Control-Request-Headers", "X-Anything",
)  # fmt: skip
SESSION = "3f2b8c1e-0d7a-4f7e-9a53-b1f0c2d4e6a8"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    transcript = Transcript(SESSION)
    transcript.prompt(f"{PLANTED} message text")
    transcript.answer("hi")
    folder = home.projects / "-work"
    folder.mkdir(parents=True)
    (folder / f"{SESSION}.jsonl").write_bytes(transcript.bytes())
    assert home.run("ingest").returncode == 0
    return home


@pytest.fixture(params=["json", "pretty"])
def server(home, request) -> Iterator[Server]:
    with serving(
        home, "--no-ingest", LOG_LEVEL="debug", LOG_FORMAT=request.param, WEB_WORKERS="1",
        TRUSTED_PROXIES="127.0.0.1",
    ) as server:  # fmt: skip
        yield server


def send(server: Server, data: bytes) -> bytes:
    """Return all that is answered to bytes; the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def ask(server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> int:
    """Return the status of an answer to who may do everything, unless the headers say other."""
    headers = {**server.credentials(), **headers}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


GOOD = [
    ("GET", f"/api/search?q={PLANTED}", None),
    ("GET", f"/api/conversations/{SESSION}/messages", None),
    ("GET", f"/api/conversations/{SESSION}/export?format=html", None),
    ("POST", "/api/conversations", {"title": PLANTED, "project_path": f"/{PLANTED}"}),
    ("POST", f"/api/conversations/{SESSION}/messages", {"role": "user", "content": PLANTED}),
    ("PUT", f"/api/conversations/{SESSION}/tags/{PLANTED}", None),
]
BAD = [
    ("GET", f"/{PLANTED}?{PLANTED}={PLANTED}", None),
    ("GET", f"/api/conversations/{PLANTED}?limit={PLANTED}", None),
    ("GET", f"/api/search?q={PLANTED}&project={'x' * 9000}", None),
    ("GET", f"/api/search?q=%22%28{PLANTED}%00%ED%A0%80", None),
    ("GET", f"/health?{PLANTED}={PLANTED}", None),
    (PLANTED.upper(), f"/api/conversations/{PLANTED}", None),
    ("POST", "/api/conversations", {"title": {"deep": [PLANTED]}, PLANTED: 1}),
    ("POST", f"/api/files/upload?filename={PLANTED}", {"not": "a transcript", "text": PLANTED}),
    ("POST", "/api/files/process-jsonl", {"file_path": f"/{PLANTED}"}),
    ("PATCH", f"/api/conversations/{SESSION}", [PLANTED]),
]
RAW = [
    b"GET /pLaNtEd HTTP/9.9\r\n\r\n",
    b"pLaNtEd /pLaNtEd\r\n\r\n",
    b"GET /health HTTP/1.1\r\npLaNtEd\r\n\r\n",
    b"GET /health HTTP/1.1\r\npLaN tEd: pLaNtEd\r\n\r\n",
    b"GET /health HTTP/1.1\r\nAuthorization: \x00pLaNtEd\r\n\r\n",
    b"GET /health HTTP/1.1\r\nX-API-Key: " + b"pLaNtEd" * 2000 + b"\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + b"A: pLaNtEd\r\n" * 200 + b"\r\n",
    b"GET /health HTTP/1.1\r\nTransfer-Encoding: pLaNtEd\r\n\r\n",
    b"GET /health HTTP/1.1\r\nExpect: pLaNtEd\r\n\r\n",
    b"GET /health HTTP/1.1\r\nContent-Length: pLaNtEd\r\n\r\n",
    b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\npLaNtEd\r\n\r\n",
    b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 500\r\n\r\n{"title": "pLaNtEd',
    b"GET /pLaNtEd HTTP/1.1\r\nAuthorization: Bearer pLaN",
]  # fmt: skip


def test_nothing_that_was_sent_is_ever_logged(server):
    number = 0
    for method, path, body in [*GOOD, *BAD]:
        encoded = None if body is None else json.dumps(body).encode()
        plain = {"Content-Type": "application/json"} if body else {}
        ask(server, method, path, encoded, plain)
        for header in HEADERS:
            value = "application/json; x=" if header == "Content-Type" else ""
            ask(server, method, path, encoded, {**plain, header: value + PLANTED})
            number += 1
    for data in RAW:
        send(server, data)
        send(server, server.signed(data))
    assert server.stop() == 0
    told = server.log.read_text()
    assert len(told.splitlines()) > number
    assert PLANTED.lower() not in told.lower()


@pytest.fixture
def lines(home) -> Iterator[Any]:
    """Sends requests to a server and returns the lines that it logged of them."""

    def of(*requests: tuple[str, str, dict[str, str]], raw: bytes = b"", **variables: str) -> Any:
        with serving(home, "--no-ingest", WEB_WORKERS="1", **variables) as server:
            for method, path, headers in requests:
                ask(server, method, path, None, headers)
            if raw:
                send(server, raw)
            assert server.stop() == 0
            logged = server.log.read_text().splitlines()
        return [json.loads(line) for line in logged if line.startswith("{")]

    yield of


def test_each_request_has_one_line(lines):
    logged = lines(
        ("GET", f"/api/conversations/{SESSION}?fields=id", {"X-Request-ID": "mine"}),
        ("HEAD", "/api/projects", {}),
        ("GET", "/nothing", {}),
        ("BREW", "/api/projects", {}),
        ("GET", "/health", {}),
        ("GET", "/metrics", {}),
    )
    assert [(line["event"], line["method"], line["route"], line["status"]) for line in logged] == [
        ("request", "GET", "/api/conversations/{conversation_id}", 200),
        ("request", "HEAD", "/api/projects", 200),
        ("request", "GET", None, 404),
        ("request", "OTHER", "/api/projects", 400),
    ]
    assert logged[0]["request_id"] == "mine"
    keys = [line["identity"] for line in logged]
    # Who asks for nothing that is there, or in a way that nobody may, is not asked for credentials.
    assert re.fullmatch("key:[0-9]+", keys[0]) and keys == [keys[0], keys[0], None, None]
    assert len({line["request_id"] for line in logged}) == 4
    for line in logged:
        assert set(line) == {
            "event", "level", "timestamp", "request_id", "method", "route", "status",
            "duration_ms", "identity", "address",
        }  # fmt: skip
        assert (line["level"], line["address"]) == ("info", "127.0.0.1")
        assert 0 <= line["duration_ms"] < 1000 * DEADLINE_SECONDS
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])


def test_health_and_metrics_are_told_at_debug(lines):
    logged = lines(("GET", "/metrics", {}), LOG_LEVEL="debug")
    routes = {(line["route"], line["level"]) for line in logged}
    assert routes == {("/health", "debug"), ("/metrics", "debug")}


def test_at_warn_no_request_is_told(lines):
    assert lines(("GET", "/api/projects", {}), LOG_LEVEL="warn") == []


def test_a_trusted_proxys_client_is_told(lines):
    [line] = lines(
        ("GET", "/api/projects", {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}),
        TRUSTED_PROXIES="127.0.0.1",
    )
    assert line["address"] == "203.0.113.9"


def test_what_is_no_request_has_a_line_too(lines):
    [line] = lines(raw=b"nonsense\r\n\r\n")
    assert (line["method"], line["route"], line["status"]) == (None, None, 400)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET / HTTP/1.1\r\nA B: c\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "URI_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * 101 + b"\r\n", 431, "HEADERS_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", 501, "VALIDATION_ERROR"),
    ],
)
def test_what_is_no_request_is_refused_in_the_envelope(refusing, data, status, code):
    head, _, body = send(refusing, data).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in rest)
    answer = json.loads(body)
    assert int(first.split()[1]) == status
    assert (answer["success"], answer["code"]) == (False, code)
    assert answer["request_id"] == headers["X-Request-ID"]
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


@pytest.fixture(scope="module")
def refusing(home) -> Iterator[Server]:
    with serving(home, "--no-ingest", WEB_WORKERS="1") as server:
        yield server
        wait_for(server.is_up, what="it to live on")
