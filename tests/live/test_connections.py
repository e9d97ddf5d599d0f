"""WebSockets whose clients send what they should not: bounded, whatever it is."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator
from time import monotonic

import pytest

from observatory.live.audience import Audience
from observatory.live.connections import (
    HEARD_BYTES,
    MAX_WAITING_BYTES,
    WebSocketConnection,
)
from observatory.store.scopes import WHOLE
from tests.live.test_hub import Somebody

PING, CONTINUATION, TEXT, FINAL = 0x9, 0x0, 0x1, 0x80


def frame(head: int, payload: bytes = b"") -> bytes:
    """Return a short frame of a client, masked with zeros."""
    return bytes((head, 0x80 | len(payload))) + bytes(4) + payload


class Socket:
    """A WebSocket without a hub, and its client's end."""

    def __init__(self) -> None:
        self.near, far = socket.socketpair()
        self.near.settimeout(30)
        self.selector = selectors.DefaultSelector()
        self.connection = WebSocketConnection(
            Somebody(), Audience(WHOLE, ()), position=0, read_filters=lambda _: {}, name="x"
        )
        self.connection.open(far, self.selector, b"", b"")

    def serve(self) -> None:
        """Do what there is to do, for as long as there is."""
        while self.selector.get_map() and (ready := self.selector.select(0)):
            for key, mask in ready:
                key.data.on_ready(mask)

    def send(self, data: bytes) -> int:
        """Send as much as is taken while the server takes its turns, each second some."""
        self.near.setblocking(False)
        sent = 0
        while sent < len(data):
            try:
                sent += self.near.send(data[sent : sent + 2 * HEARD_BYTES])
            except BlockingIOError:
                self.connection.look_after(monotonic())
            self.serve()
        return sent


@pytest.fixture
def websocket() -> Iterator[Socket]:
    made = Socket()
    yield made
    made.connection.close()
    made.near.close()
    made.selector.close()


def test_pings_of_who_takes_no_answers_are_not_kept(websocket):
    websocket.send(frame(FINAL | PING, b"x" * 125) * 20_000)
    assert MAX_WAITING_BYTES < websocket.connection.waiting_bytes < MAX_WAITING_BYTES + 200


def test_parts_without_anything_are_not_kept(websocket):
    websocket.send(frame(TEXT) + frame(CONTINUATION) * 5000)
    assert len(websocket.connection._message) == 0


def test_a_client_is_heard_for_so_much_a_second(websocket):
    pings = frame(FINAL | PING) * 20_000
    websocket.near.setblocking(False)
    websocket.near.send(pings)
    websocket.serve()
    heard = websocket.connection.waiting_bytes + len(websocket.near.recv(1 << 20))
    assert 0 < heard <= HEARD_BYTES
    websocket.connection.look_after(monotonic())
    websocket.serve()
    assert len(websocket.near.recv(1 << 20)) > 0


def test_the_beginning_comes_before_any_answer(websocket):
    websocket.send(frame(FINAL | TEXT, b'{"type": "ping"}'))
    first, _, second = websocket.near.recv(4096).partition(b"}")
    assert json.loads(first[2:] + b"}")["type"] == "connection_established"
    assert b"pong" in second
