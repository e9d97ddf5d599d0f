"""Receivers of webhooks: real HTTP servers in a thread, that answer as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.processes import wait_for


@dataclass(slots=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def delivery(self) -> str:
        """The id of the delivery."""
        return self.headers["X-Observatory-Delivery"]


@dataclass(slots=True)
class Answer:
    """What is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """Takes requests and remembers them.

    ``answer`` is called with each and returns a status, an Answer, or ``None`` when it has written
    to the handler's ``wfile`` itself. What hangs waits for ``released``.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answer: Callable[[Received, BaseHTTPRequestHandler], Answer | int | None] = (
            lambda request, handler: 200
        )
        self.released = threading.Event()
        self.server: ThreadingHTTPServer

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=t0psecret"

    def wait_for(self, number: int) -> list[Received]:
        """Return the requests when there are so many."""
        wait_for(lambda: len(self.requests) >= number, what=f"{number} requests")
        return list(self.requests)

    def hang(self, *_: object) -> None:
        """Answer nothing until the end."""
        self.released.wait()


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        request = Received(self.path, dict(self.headers), self.rfile.read(length))
        self.receiver.requests.append(request)
        answer = self.receiver.answer(request, self)
        if answer is None:
            self.close_connection = True
            return
        if isinstance(answer, int):
            answer = Answer(answer)
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
        except OSError:
            self.close_connection = True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@contextmanager
def receiving(*, wrap: Callable[[Any], Any] | None = None) -> Iterator[Receiver]:
    """Run a receiver on a free port of 127.0.0.1; ``wrap`` makes TLS of its socket."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if wrap is not None:
        server.socket = wrap(server.socket)
    receiver.server = server
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
