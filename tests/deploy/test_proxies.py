"""The examples of ``deploy/`` for nginx and Caddy, really run in front of a real server."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from tests.deploy.proxies import (
    DEPLOY,
    NAME,
    SETTINGS,
    Proxy,
    make_certificate,
    nginx_configuration,
    proxying,
)
from tests.processes import DEADLINE_SECONDS, Home, Server, free_port, serving, wait_for
from tests.programs import find_program
from tests.test_docs import documented
from tests.transcripts_for_tests import Transcript

PASSWORD = "correct-horse-battery-1x"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    home = Home(tmp_path_factory.mktemp("home"))
    adding = subprocess.run(
        [sys.executable, "-m", "observatory", "user", "add", "ada@example.org"],
        cwd=home.folder,
        env=home.environment(),
        input=PASSWORD,
        text=True,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
    )
    assert adding.returncode == 0, adding.stderr
    with serving(home, "--no-ingest", **SETTINGS, WEB_WORKERS="1") as server:
        yield server


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request, server, tmp_path_factory) -> Iterator[Proxy]:
    with proxying(request.param, server, tmp_path_factory.mktemp(request.param)) as proxy:
        yield proxy


def told(answer: http.client.HTTPResponse) -> dict[str, Any]:
    """Return the data of an answer that must be a good one."""
    body = json.loads(answer.read())
    assert answer.status in (200, 201), body
    data: dict[str, Any] = body["data"]
    return data


def make(server: Server, title: str) -> str:
    return str(server.post("/api/conversations", {"title": title, "project_path": "/work"})["id"])


def requests_in(server: Server, route: str) -> list[dict[str, Any]]:
    """Return the lines of the server's log about a route."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{"]
    return [line for line in lines if line.get("route") == route]


def test_nginx_takes_its_file(tmp_path):
    program = find_program("nginx")
    certificate, key = make_certificate(tmp_path)
    whole = nginx_configuration(
        tmp_path, port=1443, plain_port=1080, server_port=3001, certificate=certificate, key=key
    )
    tested = subprocess.run(
        [program, "-t", "-p", str(tmp_path), "-c", str(whole)], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr


def test_caddy_takes_its_file_as_it_is():
    program = find_program("caddy")
    command = [program, "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    tested = subprocess.run(command, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    assert "Valid configuration" in tested.stdout + tested.stderr


def test_it_passes_requests_on_and_browsers_stay_with_tls(proxy):
    with proxy.request("GET", "/health/ready") as answer:
        assert told(answer)["status"] == "ready"
    assert answer.msg.get_all("Strict-Transport-Security") == ["max-age=31536000"]


def test_who_comes_without_tls_is_sent_to_it(proxy):
    plain = http.client.HTTPConnection("127.0.0.1", proxy.plain_port, timeout=DEADLINE_SECONDS)
    plain.request("GET", "/login?next=1", headers={"Host": NAME})
    answer = plain.getresponse()
    assert answer.status in (301, 308)
    assert answer.getheader("Location") in (
        f"https://{NAME}/login?next=1",
        f"{proxy.origin}/login?next=1",
    )
    plain.close()


def test_the_log_has_the_address_of_the_client_and_not_what_it_says(proxy, server):
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
    before = len(requests_in(server, "/api/projects"))
    headers = {**server.credentials(), **forged}
    with proxy.request("GET", "/api/projects", source="127.0.0.2", **headers) as answer:
        told(answer)
    [line] = wait_for(
        lambda: requests_in(server, "/api/projects")[before:], what="the line of the request"
    )
    # nginx adds to what the client says, Caddy throws that away.
    assert line["address"] == "127.0.0.2"


def test_a_page_signs_in_by_a_cookie_that_is_for_tls_only(proxy):
    body = json.dumps({"email": "ada@example.org", "password": PASSWORD, "cookie": True}).encode()
    headers = {"Content-Type": "application/json", "Origin": proxy.origin}
    with proxy.request("POST", "/api/auth/login", body, **headers) as answer:
        assert told(answer)["user"]["email"] == "ada@example.org"
    cookie = answer.getheader("Set-Cookie")
    assert cookie.startswith("__Host-observatory=") and "; Secure" in cookie
    headers["Cookie"] = cookie.partition(";")[0]
    with proxy.request("POST", "/api/auth/logout", b"{}", **headers) as answer:
        told(answer)


def test_an_upload_as_large_as_the_server_takes_goes_through(proxy, server):
    transcript = Transcript(f"{proxy.kind}-upload", prefix=proxy.kind)
    transcript.prompt("x" * (9 * MIB))
    headers = {"Content-Type": "application/x-ndjson", **server.credentials()}
    with proxy.request("POST", "/api/files/upload", transcript.bytes(), **headers) as answer:
        assert told(answer)["line_count"] == 1


def test_a_larger_one_is_refused(proxy, server):
    assert documented()["MAX_REQUEST_SIZE_MB"] == "`10`"
    before = len(requests_in(server, "/api/files/upload"))
    [key] = server.credentials().values()
    head = (
        f"POST /api/files/upload HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: {key}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {10 * MIB + 1}"
    )
    with proxy.connect() as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        if proxy.kind == "caddy":
            # It leaves that to the server, which hears a client out.
            connection.sendall(b"x" * (10 * MIB + 1))
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            assert answer.status == 413
            assert answer.msg.get_all("Strict-Transport-Security") == ["max-age=31536000"]
    if proxy.kind == "nginx":
        assert len(requests_in(server, "/api/files/upload")) == before


def test_events_come_through_a_stream_one_by_one(proxy, server):
    with proxy.request("GET", "/api/events/stream", **server.credentials()) as stream:
        assert stream.status == 200
        assert stream.headers.get_content_type() == "text/event-stream"
        for title in ("first", "second"):
            # Were it held back for more to come, this would wait in vain.
            conversation = make(server, title)
            while conversation.encode() not in (line := stream.readline()):
                assert line


def test_events_come_through_a_websocket(proxy, server):
    framing = WSConnection(ConnectionType.CLIENT)
    headers = [(name.encode(), value.encode()) for name, value in server.credentials().items()]
    opening = Request(host=f"{NAME}:{proxy.port}", target="/ws", extra_headers=headers)
    with proxy.connect() as connection:

        def wait_until_told(part: str) -> None:
            heard = ""
            while part not in heard:
                framing.receive_data(connection.recv(65536) or None)
                for event in framing.events():
                    assert isinstance(event, AcceptConnection | TextMessage), event
                    heard += getattr(event, "data", "")

        connection.sendall(framing.send(opening))
        wait_until_told("connection_established")
        connection.sendall(framing.send(TextMessage('{"type": "subscribe"}')))
        wait_until_told("subscription_confirmed")
        wait_until_told(make(server, "by websocket"))


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_it_says_itself_that_the_server_is_away(kind, server, tmp_path):
    nobody = replace(server, port=free_port())
    with proxying(kind, nobody, tmp_path) as proxy:
        with proxy.request("GET", "/health/ready") as answer:
            assert answer.status == 502
        assert answer.msg.get_all("Strict-Transport-Security") == ["max-age=31536000"]
