"""A thousand connections that are idle, slow or silent, all at once, beside clients that work.

Each kind by itself is in test_slow_clients.py, a thousand idle ones in test_server.py.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from itertools import cycle, islice

import pytest

from tests.faults.clients import send
from tests.faults.process_trees import workers_of
from tests.listening import Listener
from tests.processes import DEADLINE_SECONDS, Home, serving

NUMBER = 1000
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
KINDS = {
    "idle": GET + b"\r\n",
    "silent": b"",
    "half a line": GET[:8],
    "half of its headers": GET + b"X-Slow: ",
    "half a body": b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\n"
    b'Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{"ti',
}


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process have as many sockets as it needs, or skip the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = NUMBER + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may have {hard} open files here, and {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read_status(connection: socket.socket) -> int:
    """Return the status of the next answer, all of which is read: it may come in several parts."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


@pytest.mark.usefixtures("many_descriptors")
def test_others_are_answered(tmp_path):
    home = Home(tmp_path)
    with (
        serving(home, "--no-ingest", WEB_WORKERS="2", WEB_THREADS="2") as server,
        Listener(server) as stream,
        ExitStack() as stack,
    ):
        stream.begin()
        workers = workers_of(server, number=2)
        connections: list[tuple[str, socket.socket]] = []
        for kind, beginning in islice(cycle(KINDS.items()), NUMBER):
            connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)
            stack.callback(connection.close)
            if beginning:
                connection.sendall(server.signed(beginning) if kind == "half a body" else beginning)
            if kind == "idle":
                assert read_status(connection) == 200
            connections.append((kind, connection))
        for number in range(20):
            answer = send(server, "POST", "/api/conversations", {"title": f"one {number}"})
            assert answer.status == 201
            assert server.data("/api/conversations")["pagination"]["total"] == number + 1
        assert stream.until("conversation_started")
        # Nobody was cut off for that: who was idle asks again.
        idle = next(connection for kind, connection in connections if kind == "idle")
        idle.sendall(GET + b"\r\n")
        assert read_status(idle) == 200
        assert workers_of(server, number=2) == workers, "a worker was given up"
        assert "no_connection_taken" not in server.log.read_text()
