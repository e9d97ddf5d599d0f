"""Clients that send little by little hold connections of a real server, and none of its threads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from observatory import slow_clients
from observatory.slow_clients import (
    ARRIVAL_SECONDS,
    MAX_WAITING_BYTES,
    MIN_BYTES_PER_SECOND,
    SEND_SECONDS,
    Patience,
    PatientUnreader,
    is_ready,
    waits_for_continue,
)
from tests.processes import DEADLINE_SECONDS, Home, Server, serving, wait_for

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
UPLOAD = (
    b"POST /api/files/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jsonl\r\n"
)
JSON = b'{"title": "slow"}'
LENGTH = b"Content-Length: 17\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


# When a request has arrived


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\n", False),
        (GET, False),
        (GET + b"\r", False),
        (GET + b"\r\n", True),
        (GET + b"\r\n" + GET, True),
        (POST + LENGTH + b"\r\n", False),
        (POST + LENGTH + b"\r\n" + JSON[:-1], False),
        (POST + LENGTH + b"\r\n" + JSON, True),
        (POST + b"CONTENT-length:17  \r\n\r\n" + JSON[:-1], False),
        (POST + b"Content-Length: 0\r\n\r\n", True),
        (POST + b"Content-Length: x\r\n\r\n", True),
        (POST + b"Content-Length: -1\r\n\r\n", True),
        (POST + b"X: content-length: 5\r\n\r\n", True),
        (POST + CHUNKED + b"\r\n", False),
        (POST + CHUNKED + b"\r\n11\r\n" + JSON, False),
        (POST + CHUNKED + b"\r\n11\r\n" + JSON + b"\r\n0\r\n\r\n", True),
        (POST + CHUNKED + b"\r\n0\r\n\r\n", True),
        (POST + CHUNKED + b"\r\n11\r\n" + JSON + b"\r\n0\r\nTrailer: x\r\n\r\n", True),
        (UPLOAD + b"Content-Length: 1000000\r\n\r\n", False),
        (UPLOAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 10_000, False),
        (UPLOAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * MAX_WAITING_BYTES, True),
        (UPLOAD + CHUNKED + b"\r\n" + b"x" * MAX_WAITING_BYTES, True),
        (b"x" * MAX_WAITING_BYTES, False),
    ],
)
def test_when_a_request_gets_a_thread(arrived, expected):
    assert is_ready(arrived) is expected
    assert is_ready(bytearray(arrived)) is expected


def test_who_waits_to_be_told_to_continue():
    assert waits_for_continue(POST + b"expect: 100-CONTINUE\r\n" + LENGTH + b"\r\n")
    assert not waits_for_continue(POST + b"Expect: 100-continue\r\n")
    assert not waits_for_continue(POST + LENGTH + b"\r\nExpect: 100-continue\r\n\r\n")


# The pace of a body that a thread reads


class Trickle:
    """A socket that needs so many seconds for each piece, by a clock that only it moves."""

    def __init__(self, pieces: list[tuple[float, bytes]], clock: list[float]) -> None:
        self._pieces = iter(pieces)
        self._clock = clock
        self.timeout: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def recv(self, _size: int) -> bytes:
        seconds, piece = next(self._pieces)
        assert self.timeout is not None
        if seconds >= self.timeout:
            self._clock[0] += self.timeout
            raise TimeoutError
        self._clock[0] += seconds
        return piece


@pytest.fixture
def read(monkeypatch) -> Any:
    """Reads pieces to their end and returns how many came."""
    clock = [0.0]
    monkeypatch.setattr(slow_clients, "monotonic", lambda: clock[0])

    def pieces(*sent: tuple[float, bytes]) -> int:
        trickle = Trickle([*sent, (0.0, b"")], clock)
        unreader = PatientUnreader(trickle, Patience(4))  # type: ignore[arg-type]
        count = 0
        try:
            while unreader.chunk():
                count += 1
        except TimeoutError:
            assert unreader.is_over
            count = -count
        assert trickle.timeout == SEND_SECONDS
        assert clock[0] < 1000
        return count

    return pieces


def test_a_client_that_keeps_its_pace_may_take_long(read):
    assert read(*[(1.0, b"x" * MIN_BYTES_PER_SECOND)] * 500) == 500


def test_a_client_that_trickles_is_ended(read):
    count = read(*[(1.0, b"x")] * 500)
    assert count < 0
    assert -count <= ARRIVAL_SECONDS + 1


def test_a_client_that_stops_is_ended(read):
    assert read((0.1, b"x" * 100_000_000), (ARRIVAL_SECONDS + 1, b"x")) == -1


# A real server with two threads


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    home = Home(tmp_path_factory.mktemp("home"))
    with serving(home, "--no-ingest", WEB_WORKERS="1", WEB_THREADS="2") as server:
        yield server


@pytest.fixture(scope="module")
def post(server) -> bytes:
    """The head of a request that lets in."""
    return server.signed(POST)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)


BEGINNINGS = {
    "a line": b"GET /hea",
    "headers": GET + b"X: ",
    "a body": POST + LENGTH + b"\r\n" + JSON[:5],
    "chunks": POST + CHUNKED + b"\r\n11\r\n" + JSON[:5],
    "a large body": UPLOAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000,
    "large chunks": UPLOAD + CHUNKED + b"\r\nf4240\r\n" + b"x" * 1000,
    "a body once told to": POST + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n",
    "a second request": GET + b"\r\n" + GET,
    "a refused body": b"POST /api/projects HTTP/1.1\r\nHost: localhost\r\n" + LENGTH + b"\r\n{",
    "an end that is not ended": GET + b"Connection: close\r\n\r\n",
    "no request": b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_clients_that_send_slowly_stop_nobody(server, beginning):
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(server)) for _ in range(8)]
        for connection in slow:
            connection.sendall(server.signed(beginning))
        for _ in range(5):
            assert server.get("/api/conversations")[0] == 200
            for connection in slow:
                try:
                    connection.send(b"a")
                except OSError:
                    assert beginning in (
                        BEGINNINGS["no request"],
                        GET + b"Connection: close\r\n\r\n",
                    )


def test_a_request_in_small_pieces_is_answered(server, post):
    with connect(server) as connection:
        whole = post + LENGTH + b"Connection: close\r\n\r\n" + JSON
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in whole:
            connection.sendall(bytes([byte]))
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"title":"slow"' in answer


def test_requests_behind_each_other_are_all_answered(server, post):
    with connect(server) as connection:
        last = GET + b"Connection: close\r\n\r\n"
        connection.sendall((GET + b"\r\n") * 20 + post + LENGTH + b"\r\n" + JSON + last)
        answer = connection.makefile("rb").read()
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 21
    assert answer.count(b"HTTP/1.1 201 Created\r\n") == 1


def test_a_client_is_told_to_continue(server, post):
    with connect(server) as connection:
        head = b"Expect: 100-continue\r\nConnection: close\r\n"
        connection.sendall(post + head + LENGTH + b"\r\n")
        stream = connection.makefile("rb")
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        connection.sendall(JSON)
        assert b"HTTP/1.1 201 Created\r\n" in stream.read()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * MAX_WAITING_BYTES, 414),
        (GET + b"A: b\r\n" * (MAX_WAITING_BYTES // 6), 431),
        (GET, 400),
    ],
)
def test_what_does_not_become_a_request_is_refused(server, data, status):
    with connect(server) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'"request_id":' in answer


def test_a_connection_that_says_nothing_and_ends_is_no_request(server):
    with connect(server) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read() == b""


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 1000000\r\n\r\n" + b"x" * 200_000,
        CHUNKED + b"\r\n30d40\r\n" + b"x" * 200_000 + b"\r\nrubbish\r\n",
        CHUNKED + b"\r\nrubbish\r\n\r\n",
    ],
)
def test_a_body_that_breaks_is_the_clients_fault(server, post, start):
    with connect(server) as connection:
        connection.sendall(post + start)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"request_failed" not in server.log.read_bytes()


def test_what_stops_coming_is_given_up(server, post):
    with connect(server) as silent, connect(server) as connection:
        silent.sendall(GET)
        connection.sendall(post + b"Content-Length: 1000000\r\n\r\n" + b"x" * MAX_WAITING_BYTES)
        answer = connection.makefile("rb").read()
        # Closed without an answer: who sends slowly on purpose learns nothing by one.
        assert silent.recv(1) == b""
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too slowly" in answer
    assert b"request_failed" not in server.log.read_bytes()


def test_clients_that_take_nothing_stop_nobody(tmp_path):
    """Answers that nobody takes hold all threads but one of a worker, however many they are."""
    home = Home(tmp_path)
    with (
        serving(home, "--no-ingest", WEB_WORKERS="1", WEB_THREADS="2") as server,
        ExitStack() as stack,
    ):
        made = server.post("/api/conversations", {"title": "Long"})["id"]
        text = "x" * 1_900_000
        for _ in range(4):
            server.post(f"/api/conversations/{made}/messages", {"role": "user", "content": text})
        head = server.signed(
            f"GET /api/conversations/{made}/export HTTP/1.1\r\nHost: localhost\r\n".encode()
        )
        for _ in range(6):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.connect(("127.0.0.1", server.port))
            client.sendall(head + b"\r\n")
        for _ in range(5):
            assert server.get("/health")[0] == 200
        # Who was cut off was so because no thread was left for others.
        wait_for(lambda: "client_too_slow" in server.log.read_text(), what="one to be cut off")


def test_all_threads_but_one_may_wait_for_clients():
    patience = Patience(3)
    with patience.wait() as first, patience.wait() as second, patience.wait() as third:
        assert (first, second, third) == (True, True, False)
    with patience.wait() as again:
        assert again
