"""Clients of streams on a real server: Server-Sent Events, and WebSockets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Event, Ping, Request, TextMessage

from tests.processes import DEADLINE_SECONDS, Server


class Listener:
    """Reads a stream of Server-Sent Events, one at a time."""

    def __init__(self, server: Server, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=DEADLINE_SECONDS
        )
        allowed = {} if "ticket=" in query else server.credentials()
        self._connection.request(
            "GET", f"/api/events/stream{query}", headers={**allowed, **headers}
        )
        self.answer = self._connection.getresponse()
        self.status = self.answer.status
        self.position: int | None = None

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self.answer.close()
        self._connection.close()

    def begin(self) -> int:
        """Return the id behind which the stream begins, which it says first."""
        while self.position is None:
            assert self._read_block() is not None, f"{self.status}, and nothing begins"
        return self.position

    def next(self) -> dict[str, Any] | None:
        """Return the next event or notice; ``None`` when the server has ended the stream."""
        while True:
            block = self._read_block()
            if block is None:
                return None
            if "data" in block:
                data: dict[str, Any] = json.loads(block["data"])
                return data

    def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of a type."""
        while True:
            event = self.next()
            assert event is not None, f"the stream ended before {kind}"
            if event["type"] == kind:
                return event

    def _read_block(self) -> dict[str, str] | None:
        block: dict[str, str] = {}
        while True:
            line = self.answer.readline()
            if not line:
                return None
            text = line.decode().rstrip("\n")
            if not text:
                if "id" in block:
                    self.position = int(block["id"])
                return block
            name, _, value = text.partition(": ")
            block[name] = value


class WebSocketClient:
    """A WebSocket, one message at a time."""

    def __init__(self, server: Server, query: str = "", **headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)
        self._framing = WSConnection(ConnectionType.CLIENT)
        allowed = {} if "ticket=" in query else server.credentials()
        extra = [(name.encode(), value.encode()) for name, value in {**allowed, **headers}.items()]
        request = Request(host="localhost", target=f"/ws{query}", extra_headers=extra)
        self.socket.sendall(self._framing.send(request))
        self._events: list[Event] = []
        self.pings = 0
        self.accepted = self._next_event()

    def __enter__(self) -> WebSocketClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, message: Any) -> None:
        """Send a message as JSON.

        Raises:
            ConnectionResetError: The server closes already.
        """
        if self._framing.state is not ConnectionState.OPEN:
            raise ConnectionResetError("The server closes.")
        self.socket.sendall(self._framing.send(TextMessage(json.dumps(message))))

    def send_event(self, event: Event) -> None:
        """Send a frame of the protocol."""
        self.socket.sendall(self._framing.send(event))

    def next(self) -> dict[str, Any] | CloseConnection:
        """Return the next message, or that the server closes."""
        text = ""
        while True:
            event = self._next_event()
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    message: dict[str, Any] = json.loads(text)
                    return message
            elif isinstance(event, Ping):
                self.pings += 1
                self.socket.sendall(self._framing.send(event.response()))
            elif isinstance(event, CloseConnection):
                return event

    def until(self, kind: str) -> dict[str, Any]:
        """Return the next message of a type."""
        while True:
            message = self.next()
            assert isinstance(message, dict), message
            if message["type"] == kind:
                return message

    def _next_event(self) -> Event:
        while not self._events:
            data = self.socket.recv(65536)
            self._framing.receive_data(data or None)
            self._events = list(self._framing.events())
        return self._events.pop(0)


def websocket_request(server: Server, **headers: str) -> tuple[int, bytes]:
    """Ask for a WebSocket and return status and body of what is no WebSocket."""
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    return server.get("/ws", **asked)
