"""A real server: gunicorn with several workers, as ``observatory serve`` starts it."""

from __future__ import annotations

import http.client
import json
import os
import random
import resource
import signal
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.sessions import numbered, session_id
from tests.planted import drawn
from tests.processes import DEADLINE_SECONDS, Home, Server, metrics_folders, serving, wait_for


def new_home(folder: Path, sessions: int = 2) -> Home:
    """Return a home with some transcripts."""
    home = Home(folder)
    for number in range(sessions):
        transcript = numbered(number)
        transcript.prompt("hello")
        transcript.answer("hi")
        path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(transcript.bytes())
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return new_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def server(home) -> Iterator[Server]:
    with serving(home, WEB_WORKERS="2") as server:
        yield server


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_supervisor(pid: int) -> bool:
    return b"\0observatory.supervise\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def workers_of(pid: int, number: int) -> list[int]:
    """Return the workers of a server, once there are so many."""

    def found() -> list[int]:
        workers = [child for child in children_of(pid) if not is_supervisor(child)]
        return workers if len(workers) == number else []

    return wait_for(found, what=f"{number} workers")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def requests_to(server: Server, route: str) -> float:
    """Return how many requests to a route were answered by all workers together."""
    _, body = server.get("/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == "observatory_http_requests_total" and sample.labels["route"] == route
    )


def test_it_answers(server):
    assert server.data("/health/ready")["status"] == "ready"
    status, body = server.get("/")
    assert (status, b'id="page"' in body) == (200, True)


def test_it_says_where_it_is_and_what_it_reads(server, home):
    log = wait_for(server.log.read_text, what="the first lines")
    assert f"Observatory is on http://127.0.0.1:{server.port}/" in log
    assert f"Transcripts are read from {home.projects}" in log


def test_ingest_at_the_start_brings_the_rows(server):
    def totals() -> dict:
        return server.data("/api/conversations")["pagination"]

    wait_for(lambda: totals()["total"] == 2, what="the conversations")
    assert server.data(f"/api/conversations/{session_id(0)}")["message_count"] == 2


def test_it_made_everything_for_its_owner_only(server, home):
    server.data("/api/projects")  # The log is there while somebody has the database open.
    for name in ("observatory.db", "observatory.db-wal", "jwt_secret", "redaction_key"):
        assert stat.S_IMODE((home.database.parent / name).stat().st_mode) == 0o600


def test_requests_to_all_workers_add_up(server):
    before = requests_to(server, "/health")
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: server.get("/health")[0], range(200)))
    assert statuses == [200] * 200
    assert requests_to(server, "/health") == before + 200


def test_request_ids_are_unique_over_all_workers(server):
    made: list[str] = []

    def both_answered() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        made.append(answer.getheader("X-Request-ID"))
        return len(made) >= 100 and len({each.split("-")[1] for each in made}) == 2

    wait_for(both_answered, what="an answer of each worker")
    assert len(set(made)) == len(made)


def test_a_connection_is_kept_for_further_requests(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    for method, path, expected in [
        ("GET", "/health", 200),
        ("HEAD", "/api/conversations", 200),
        ("GET", "/nothing", 404),
        ("HEAD", "/nothing", 404),
        ("POST", "/api/projects", 405),
        ("GET", "/api/conversations?limit=0", 400),
    ]:
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, headers=server.credentials())
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == expected
        assert bool(body) is (method != "HEAD")
    connection.close()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/conversations?search=th%C3%A9", 200),
        ("/api/conversations/%ED%A0%80", 404),
        ("/api/conversations/%00", 404),
        ("/api/conversations/" + "a" * 3000, 404),
        ("/api/conversations/..%2F..%2Fetc%2Fpasswd", 404),
        ("//api//conversations", 404),
        ("/api/conversations?limit=0", 400),
    ],
)
def test_hard_targets_over_the_wire(server, target, status):
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(server.signed(request.encode()))
        answer = connection.makefile("rb").read()
    assert int(answer.split()[1]) == status
    assert b'"request_id":' in answer


def test_idle_connections_do_not_stop_a_request(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("not enough open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000 if hard < 0 else min(hard, 2000), hard))
    idle: list[socket.socket] = []
    try:
        for _ in range(1000):
            connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)
            idle.append(connection)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert server.data("/api/conversations")["pagination"]["total"] >= 0
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_that_say_nothing_do_not_stop_a_request(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    try:
        assert server.get("/health")[0] == 200
    finally:
        for connection in silent:
            connection.close()


# Starting and stopping


def test_sigterm_stops_everything_and_leaves_nothing_behind(tmp_path):
    with serving(new_home(tmp_path), WEB_WORKERS="2") as server:
        pid = server.process.pid
        processes = workers_of(pid, 2)
        [folder] = metrics_folders(pid)
        assert server.stop() == 0
    assert not folder.exists()
    wait_for(lambda: not any(map(is_alive, processes)), what="the workers to end")


def test_sigterm_stops_the_ingest_too(tmp_path):
    home = new_home(tmp_path, 300)
    with serving(home) as server:
        processes = children_of(server.process.pid)
        assert server.stop() == 0
    wait_for(lambda: not any(map(is_alive, processes)), what="all processes to end")
    assert home.run("ingest").returncode == 0


def test_what_was_tagged_before_a_restart_is_sent_again(tmp_path):
    """The file may be an older one by then: a backup, or what a power failure left."""
    home = new_home(tmp_path)
    assert home.run("ingest").returncode == 0
    tags, key = [], home.make_key()
    for _ in range(2):
        with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
            path = f"http://127.0.0.1:{server.port}/api/projects"
            # Always the same key: what is there for another one may be less.
            server.key = key
            asked = Request(path, headers=server.credentials())
            for _ in range(8):
                with urlopen(asked) as answer:
                    tags.append(answer.headers["ETag"])
            assert server.get("/api/projects", **{"If-None-Match": tags[-1]})[0] == 304
            assert server.get("/api/projects", **{"If-None-Match": tags[0]})[0] == (
                304 if tags[0] == tags[-1] else 200
            )
            server.stop()
    # All workers of one server have the same.
    assert len(set(tags[:8])) == len(set(tags[8:])) == 1
    assert tags[0] != tags[-1]


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path):
    with (
        serving(new_home(tmp_path)) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert server.stop() == 0


def test_a_worker_that_dies_is_replaced_and_its_requests_stay_counted(tmp_path):
    with serving(new_home(tmp_path), "--no-ingest", WEB_WORKERS="1") as server:
        for _ in range(5):
            server.get("/api/projects")
        [worker] = workers_of(server.process.pid, 1)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: worker not in children_of(server.process.pid), what="its end")
        wait_for(server.is_up, what="the next worker")
        assert requests_to(server, "/api/projects") == 5


def test_an_empty_home_is_served_and_told(tmp_path):
    home = Home(tmp_path)
    with serving(home) as server:
        assert server.data("/api/conversations")["pagination"]["total"] == 0
        # The page asks for it, when there is nothing else to show.
        wait_for(
            lambda: (
                str(home.projects)
                in [
                    folder["path"]
                    for folder in server.data("/api/live/status")["watcher"]["folders"]
                ]
            ),
            what="where it looks",
        )
        told = f"No transcripts in {home.projects} yet."
        wait_for(lambda: told in server.log.read_text(), what="where it looked")


@pytest.mark.parametrize(("arguments", "variables"), [
    (("--no-ingest",), {}), ((), {"INGEST_ON_START": "false"}),
])  # fmt: skip
def test_ingest_at_the_start_can_be_left_out(tmp_path, arguments, variables):
    with serving(new_home(tmp_path), *arguments, **variables) as server:
        assert not [child for child in children_of(server.process.pid) if is_supervisor(child)]
        assert server.data("/api/conversations")["pagination"]["total"] == 0


def test_what_is_ingested_beside_the_server_appears(tmp_path):
    home = new_home(tmp_path)
    with serving(home, "--no-ingest") as server:
        assert server.data("/api/conversations")["pagination"]["total"] == 0
        assert home.run("ingest").returncode == 0
        assert server.data("/api/conversations")["pagination"]["total"] == 2


def test_server_and_ingest_mask_alike(tmp_path):
    home = new_home(tmp_path)
    token = "gh" + "p_" + drawn(random.Random(3), 36)
    transcript = numbered(7)
    transcript.prompt(token)
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.write_bytes(transcript.bytes())
    with serving(home, "--no-ingest") as server:
        assert home.run("ingest").returncode == 0
        body = json.dumps({"title": token}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        headers = {"Content-Type": "application/json", **server.credentials()}
        connection.request("POST", "/api/conversations", body, headers=headers)
        title = json.loads(connection.getresponse().read())["data"]["title"]
        connection.close()
        messages = server.data(f"/api/conversations/{transcript.session_id}/messages")["messages"]
        assert title == messages[0]["content"] != token
        assert {row["kind"] for row in server.data("/api/secrets")["secrets"]} == {"github_token"}
        assert token not in server.log.read_text()


def test_a_body_in_chunks_is_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    pieces = [b'{"title":', b' "in chunks"}']
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    headers |= server.credentials()
    connection.request(
        "POST", "/api/conversations", iter(pieces), headers=headers, encode_chunked=True
    )
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert (answer.status, body["data"]["title"]) == (201, "in chunks")


@pytest.mark.parametrize(("length", "status"), [(3_900, 200), (5_000, 400), (9_000, 414)])
def test_long_addresses_are_refused_in_the_envelope_as_long_as_they_can_be(server, length, status):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    path = f"/api/search?project={'x' * length}&q=x"
    connection.request("GET", path, headers=server.credentials())
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == status
    codes = {400: "VALIDATION_ERROR", 414: "URI_TOO_LONG"}
    if status in codes:
        assert json.loads(body)["code"] == codes[status]


def test_a_browser_lets_a_page_of_an_allowed_origin_change_something(tmp_path):
    """As browsers do: ask first, look at what is permitted, then send, then look again."""
    origin = "http://localhost:3000"
    with serving(new_home(tmp_path), "--no-ingest", CORS_ORIGINS=origin) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
            "Sec-Fetch-Mode": "cors",
        }
        connection.request("OPTIONS", "/api/conversations", headers=asked)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert answer.getheader("Access-Control-Allow-Origin") == origin
        assert "POST" in answer.getheader("Access-Control-Allow-Methods").split(", ")
        sendable = answer.getheader("Access-Control-Allow-Headers").lower().split(", ")
        assert {"authorization", "content-type", "idempotency-key"} <= set(sendable)
        headers = {"Origin": origin, "Content-Type": "application/json", "Idempotency-Key": "k-1"}
        headers |= server.credentials()
        connection.request("POST", "/api/conversations", b'{"title": "From a page"}', headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert (answer.status, body["data"]["title"]) == (201, "From a page")
        assert answer.getheader("Access-Control-Allow-Origin") == origin
        assert answer.getheader("Access-Control-Allow-Credentials") == "true"
        connection.request("OPTIONS", "/api/conversations", headers={**asked, "Origin": "null"})
        answer = connection.getresponse()
        answer.read()
        assert not [
            name for name in dict(answer.getheaders()) if name.lower().startswith("access-")
        ]
        connection.close()


def test_a_limit_is_counted_once_over_all_workers(tmp_path):
    variables = {"RATE_LIMIT_MAX_REQUESTS": "40", "RATE_LIMIT_LOOPBACK": "true"}
    home = new_home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="3", **variables) as server:
        with ThreadPoolExecutor(8) as pool:
            asked = pool.map(lambda _: server.get("/api/projects")[0], range(60))
            statuses = sorted(asked)
        assert statuses == [200] * 40 + [429] * 20
        # Who takes the place of a dead worker counts on.
        worker = workers_of(server.process.pid, 3)[0]
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: worker not in children_of(server.process.pid), what="its end")
        workers_of(server.process.pid, 3)
        assert [server.get("/api/projects")[0] for _ in range(20)] == [429] * 20
        assert server.get("/health")[0] == 200


@pytest.mark.parametrize(
    ("body", "length", "status", "code"),
    [
        (b'{"title": ' + b"[" * 40 + b"]" * 40 + b"}", None, 400, "VALIDATION_ERROR"),
        (b'{"title": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", None, 400, "VALIDATION_ERROR"),
        (b'{"title": 1e999}', None, 400, "VALIDATION_ERROR"),
        (b'{"title": "' + b"x" * 11 * 1024 * 1024 + b'"}', None, 413, "PAYLOAD_TOO_LARGE"),
        (b"x" * 100_000, "99999999999", 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_bodies_that_are_too_deep_or_too_long_are_refused(server, body, length, status, code):
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        head = (
            "POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
        )
        stream = connection.makefile("rb")
        connection.sendall(server.signed(head.encode()))
        try:
            connection.sendall(body)
        except ConnectionError:
            assert status == 413  # It may be refused before all is sent.
        answer = stream.read()
    assert int(answer.split()[1]) == status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code


def count_sockets(pid: int) -> int:
    """Return how many sockets a process has open; one may be closed while they are counted."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += os.readlink(descriptor).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


@contextmanager
def asking(port: int, number: int) -> Iterator[None]:
    """Keep connections open for a block, on each of which a request was answered."""
    with ExitStack() as stack:
        clients = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(number)]
        for client in clients:
            stack.enter_context(closing(client))
            client.request("GET", "/health")
        for client in clients:
            client.getresponse().read()
        yield


def test_who_has_fewer_connections_takes_the_next(tmp_path):
    with serving(Home(tmp_path), "--no-ingest", WEB_WORKERS="2") as server:
        one, other = workers_of(server.process.pid, 2)
        os.kill(other, signal.SIGSTOP)
        with asking(server.port, 60):
            os.kill(other, signal.SIGCONT)
            before = count_sockets(one)

            def count_taken() -> int:
                """Return how many of 100 connections the other one takes."""
                taken = 0
                for _ in range(5):
                    wait_for(lambda: count_sockets(one) == before, what="connections closed")
                    with asking(server.port, 20):
                        taken += 20 - (count_sockets(one) - before)
                return taken

            # It is half of them when both take what comes. On a busy machine it may sleep for long.
            assert any(count_taken() >= 70 for _ in range(4))
