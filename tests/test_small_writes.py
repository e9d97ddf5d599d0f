"""Small writes of many clients on a real server: they share a thread and transactions."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.faults.test_locked import count_in_flight, lock_held
from tests.processes import DEADLINE_SECONDS, Home, Server, serving, wait_for

CLIENTS = 20


class Client:
    """A program that keeps its connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=DEADLINE_SECONDS
        )

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Send a request."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
        kind = {"Content-Type": "application/json"}
        self._connection.request(
            method, path, sent, {**kind, **self._server.credentials(), **headers}
        )

    def answer(self) -> tuple[int, Any]:
        """Return status and body of the answer."""
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path: str) -> Any:
        """Return what an answer says."""
        self.ask("GET", path)
        status, body = self.answer()
        assert status == 200, body
        return body

    @property
    def port(self) -> int:
        """The client's end of the connection, which is another one once that was closed."""
        return int(self._connection.sock.getsockname()[1])

    def close(self) -> None:
        """Leave."""
        self._connection.close()


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def server(home) -> Iterator[Server]:
    with serving(home, "--no-ingest", WEB_WORKERS="1", WEB_THREADS="2") as server:
        server.credentials()
        yield server


@pytest.fixture
def clients(server) -> Iterator[list[Client]]:
    """Clients whose connections the server knows."""
    with ExitStack() as ending:
        made = [ending.enter_context(closing(Client(server))) for _ in range(CLIENTS)]
        for client in made:
            client.get("/health")
        yield made


def count_transactions(server: Server) -> int:
    """Return how many transactions the server has written."""
    metric = rb'_database_write_duration_seconds_count\{process="server"\} (\d+)'
    found = re.search(metric, server.get("/metrics")[1])
    return int(found[1]) if found else 0


def send_together(home: Home, server: Server, clients: list[Client], requests: list[Any]) -> int:
    """Send requests while nobody can write; return how many transactions they then took."""
    before = count_transactions(server)
    with lock_held(home):
        clients[0].ask("POST", *requests[0])
        wait_for(lambda: count_in_flight(server) > 0, what="a write to wait")
        for client, request in zip(clients[1:], requests[1:], strict=True):
            client.ask("POST", *request)
        # A round of the server's loop that began after they had come, and ended.
        for _ in range(2):
            assert server.get("/health")[0] == 200
    wait_for(lambda: count_in_flight(server) == 0, what="the writes")
    return count_transactions(server) - before


def test_those_that_wait_are_kept_in_one_transaction(home, server, clients):
    body = {"title": "together", "project_path": "/p"}
    taken = send_together(home, server, clients, [("/api/conversations", body)] * CLIENTS)
    ports = [client.port for client in clients]
    answers = [client.answer() for client in clients]
    assert {status for status, _ in answers} == {201}
    assert len({body["data"]["id"] for _, body in answers}) == CLIENTS
    # The first by itself, all others, and perhaps that the key was used.
    assert taken <= 3
    assert server.data("/api/conversations")["pagination"]["total"] == CLIENTS
    # Connections are kept, and each client's next request is answered on its own.
    for client in clients:
        client.ask("POST", "/api/conversations", {"title": "alone"})
        assert client.answer()[0] == 201
    assert [client.port for client in clients] == ports


def test_what_is_not_so_small_shares_no_transaction(home, server, clients):
    """Each may take as long as one, which many messages in one body need."""
    own = server.post("/api/conversations", {"title": "own"})["id"]
    body = {"messages": [{"role": "user", "content": "word " * 8}] * 700}
    assert len(json.dumps(body)) > 32 * 1024
    here = f"/api/conversations/{own}/messages"
    before = count_transactions(server)
    send_together(home, server, clients, [(here, body)] * CLIENTS)
    assert {client.answer()[0] for client in clients} == {201}
    assert count_transactions(server) - before >= CLIENTS


def test_each_is_told_what_became_of_its_own(home, server, clients):
    own = server.post("/api/conversations", {"title": "own"})["id"]
    here = f"/api/conversations/{own}/messages"
    call = {"id": "same", "function": {"name": "Read"}}
    kinds = [
        (201, here, {"role": "user", "content": "some words"}),
        (404, "/api/conversations/nobody/messages", {"role": "user", "content": "lost words"}),
        (400, here, {"role": "user"}),
        (400, here, b"{"),
        (201, here, {"messages": [{"role": "user", "content": "two"}] * 2}),
        (409, here, {"role": "assistant", "content": "", "tool_calls": [call, call]}),
        (201, "/api/conversations", {"title": "another"}),
    ]
    wanted = [kinds[number % len(kinds)] for number in range(CLIENTS)]
    send_together(home, server, clients, [request for _, *request in wanted])
    answers = [client.answer() for client in clients]
    expected = [status for status, *_ in wanted]
    assert [status for status, _ in answers] == expected
    for (status, path, sent), (_, body) in zip(wanted, answers, strict=True):
        if status == 201 and path == here and "content" in sent:
            assert (body["data"]["content"], body["data"]["conversation_id"]) == ("some words", own)
    messages = server.data(f"{here}?limit=100")["messages"]
    added = [
        len(sent.get("messages", "x"))
        for status, path, sent in wanted
        if (status, path) == (201, here)
    ]
    assert len(messages) == sum(added)
    assert [m["position"] for m in messages] == list(range(1, len(messages) + 1))
    assert home.run("verify", "--rollups").returncode == 0


def test_who_sends_the_same_again_beside_itself_writes_once(home, server, clients):
    """Of requests with one key that come together one acts, and all get its answer."""
    key = {"Idempotency-Key": "once"}
    with lock_held(home):
        for client in clients:
            client.ask("POST", "/api/conversations", {"title": "once"}, **key)
        wait_for(lambda: count_in_flight(server) > 0, what="a write to wait")
    answers = [client.answer() for client in clients]
    assert {status for status, _ in answers} == {201}
    assert len({body["data"]["id"] for _, body in answers}) == 1
    assert server.data("/api/conversations")["pagination"]["total"] == 1
