"""A server that is told to end while requests are at all stages, and to reload under load.

That idle connections do not hold it up is in test_server.py, that streams are told in
test_streams.py; here all comes at once, and each request that had come is answered.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from tests.faults.clients import send
from tests.faults.process_trees import is_running, workers_of
from tests.listening import Listener
from tests.processes import DEADLINE_SECONDS, Home, Server, serving, wait_for
from tests.transcripts_for_tests import Transcript

JSON = b'{"title": "in flight"}'


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)


def begin(server: Server, line: str, *headers: str, length: int = 0) -> socket.socket:
    """Begin a request that asks to be told to go on, and return once it is told."""
    head = [line, "Host: localhost", *headers]
    if length:
        head += ["Expect: 100-continue", f"Content-Length: {length}"]
    connection = connect(server)
    connection.sendall(server.signed(("\r\n".join(head) + "\r\n\r\n").encode()))
    if length:
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def finish(connection: socket.socket) -> tuple[int, bytes]:
    """Return status and body of the answer of a connection, which is whole."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        return answer.status, answer.read()
    finally:
        answer.close()
        connection.close()


def refuses(server: Server) -> bool:
    """Tell whether new connections are refused, and not kept waiting for an answer."""
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    return False


def test_whatever_had_come_is_answered(tmp_path):
    home = Home(tmp_path)
    uploaded = Transcript()
    uploaded.prompt("word " * 100_000)
    body = uploaded.bytes()
    with serving(home, "--no-ingest", WEB_WORKERS="2", WEB_THREADS="8") as server:
        long = server.post("/api/conversations", {"title": "long"})["id"]
        said = {"role": "user", "content": "x" * 1_900_000}
        for _ in range(4):
            server.post(f"/api/conversations/{long}/messages", said)
        with (
            Listener(server, "?after=0") as stream,
            sqlite3.connect(home.database, isolation_level=None) as holder,
        ):
            stream.begin()
            upload = begin(
                server,
                "POST /api/files/upload HTTP/1.1",
                "Content-Type: application/x-ndjson",
                length=len(body),
            )
            upload.sendall(body[:200_000])
            incoming = home.database.parent / "uploads" / ".incoming"
            wait_for(lambda: list(incoming.glob("*/body")), what="the upload to begin")
            export = begin(server, f"GET /api/conversations/{long}/export?format=json HTTP/1.1")
            assert export.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
            holder.execute("BEGIN IMMEDIATE")
            writes = [
                begin(
                    server,
                    "POST /api/conversations HTTP/1.1",
                    "Content-Type: application/json",
                    length=len(JSON),
                )
                for _ in range(6)
            ]
            for write in writes:
                write.sendall(JSON)
            server.process.send_signal(signal.SIGTERM)
            assert stream.until("server_shutdown")
            assert stream.next() is None
            wait_for(lambda: refuses(server), what="the end of listening")
            holder.execute("ROLLBACK")
            assert [finish(write)[0] for write in writes] == [201] * 6
            upload.sendall(body[200_000:])
            status, told = finish(upload)
            assert status == 201, told
            status, exported = finish(export)
            assert (status, len(json.loads(exported)["messages"])) == (200, 4)
        holder.close()
        assert server.process.wait(DEADLINE_SECONDS) == 0
        assert "request_failed" not in server.log.read_text()
        assert "server_failed" not in server.log.read_text()


class Asker:
    """Asks again and again, over one connection or over a new one each time."""

    def __init__(self, server: Server, *, keeps: bool) -> None:
        self.server = server
        self.keeps = keeps
        self.answered = 0
        self.reconnected = 0
        self.is_over = Event()

    def run(self) -> None:
        """Ask until it is over."""
        connection = self._connect()
        while not self.is_over.is_set():
            connection = self._ask(connection)
            if not self.keeps:
                connection.close()
                connection = self._connect()
            self.answered += 1
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=DEADLINE_SECONDS)

    def _ask(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        """Ask, and once more where the server closed a connection that was idle: as all do."""
        was_used = connection.sock is not None
        try:
            connection.request("GET", "/api/conversations", headers=self.server.credentials())
            answer = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            assert was_used, "a new connection was refused"
            self.reconnected += 1
            connection.close()
            return self._ask(self._connect())
        assert answer.status == 200, answer.read()
        json.loads(answer.read())
        return connection


def have_answered(askers: list[Asker], number: int) -> bool:
    """Tell whether they were given so many answers together."""
    return sum(asker.answered for asker in askers) >= number


def are_gone(pids: list[int]) -> bool:
    """Tell whether no process of these is there any more."""
    return not any(map(is_running, pids))


def test_a_reload_under_load_fails_no_request(tmp_path):
    home = Home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="2") as server:
        send(server, "POST", "/api/conversations", {"title": "there"})
        askers = [Asker(server, keeps=number % 2 == 0) for number in range(8)]
        with ThreadPoolExecutor(len(askers)) as pool:
            running = [pool.submit(asker.run) for asker in askers]
            try:
                for number in (1, 2):
                    old = workers_of(server, number=2)
                    os.kill(server.process.pid, signal.SIGHUP)
                    wait_for(partial(are_gone, old), what="the end of the old workers")
                    wait_for(partial(have_answered, askers, 300 * number), what="more answers")
                    for each in running:
                        # Whoever has ended tells why.
                        assert not each.done() or each.result()
            finally:
                for asker in askers:
                    asker.is_over.set()
            for each in running:
                each.result()
        print([(a.keeps, a.answered, a.reconnected) for a in askers])
        assert server.stop() == 0
