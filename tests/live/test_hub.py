"""The hub: who may listen, and what a system that has nothing left to give means for it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from time import monotonic

import pytest

from observatory.errors import TooManyStreams, Unauthorized
from observatory.live import connections
from observatory.live import hub as hub_module
from observatory.live.audience import Audience
from observatory.live.connections import PollConnection, SseConnection
from observatory.live.hub import Hub
from observatory.store.database import OperationalError
from observatory.store.events import EVERYTHING, read_bounds
from observatory.store.scopes import WHOLE, Scope
from tests.processes import wait_for
from tests.store.new_conversations import make_conversation

ENDS_AFTER_SECONDS = 0.3


@dataclass(frozen=True)
class Somebody:
    name: str = "somebody"
    scope: Scope = WHOLE
    expires_at: float = float("inf")


def make_stream(*, seconds: float = ENDS_AFTER_SECONDS) -> SseConnection:
    """Return a stream that ends by itself once all was told."""
    return SseConnection(
        Somebody(), Audience(WHOLE, (EVERYTHING,)), position=0, until=monotonic() + seconds
    )


def open_stream(hub: Hub, stream: SseConnection) -> socket.socket:
    near, far = socket.socketpair()
    near.settimeout(30)
    hub.add(stream, far, head=b"", heard=b"")
    return near


def read_all(near: socket.socket) -> list[dict]:
    """Return what a stream tells until it ends."""
    with near, near.makefile("rb") as lines:
        return [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def test_a_stream_is_told_what_happened(db):
    make_conversation()
    told = read_all(open_stream(Hub(lambda viewer: viewer), make_stream()))
    assert [event["id"] for event in told] == [1]


def test_who_is_shut_out_between_the_door_and_the_hub_is_told_nothing(db):
    def look_again(viewer):
        raise Unauthorized("no more")

    make_conversation()
    [notice] = read_all(open_stream(Hub(look_again), make_stream()))
    assert (notice["type"], notice["code"]) == ("error", "UNAUTHORIZED")


def ask(look_again) -> bytes:
    """Return what a question gets that waits for an event, or for its time to be over."""
    question = PollConnection(
        Somebody(),
        Audience(WHOLE, (EVERYTHING,)),
        position=0,
        make_answer=lambda scope: b"body",
        until=monotonic() + ENDS_AFTER_SECONDS,
    )
    near, far = socket.socketpair()
    near.settimeout(30)
    Hub(look_again).add(question, far, head=b"head ", heard=b"")
    with near, near.makefile("rb") as answer:
        return answer.read()


def test_a_question_is_answered_or_gets_nothing_at_all(db):
    def look_again(viewer):
        raise Unauthorized("no more")

    assert ask(lambda viewer: viewer) == b"head body"
    assert ask(look_again) == b""


def test_streams_that_wait_for_the_hub_count(db):
    hub = Hub(lambda viewer: viewer, max_streams=4)
    streams = [open_stream(hub, make_stream()) for _ in range(2)]
    with pytest.raises(TooManyStreams):
        hub.check_room(Somebody())
    hub.check_room(Somebody("another"))
    for near in streams:
        read_all(near)
    wait_for(lambda: not hub._names, what="the streams to be forgotten")
    hub.check_room(Somebody())


def test_a_system_without_descriptors_costs_one_stream(db, monkeypatch):
    def refuse():
        raise OSError(24, "Too many open files")

    hub = Hub(lambda viewer: viewer)
    with monkeypatch.context() as patched:
        patched.setattr(hub_module.selectors, "DefaultSelector", refuse)
        with open_stream(hub, make_stream()) as near:
            assert near.recv(10) == b""
    make_conversation()
    assert len(read_all(open_stream(hub, make_stream()))) == 1


def test_who_waits_for_the_database_may_leave(db, monkeypatch):
    def refuse():
        raise OperationalError("unable to open database file")

    monkeypatch.setattr(hub_module, "connect", refuse)
    hub = Hub(lambda viewer: viewer)
    near, far = socket.socketpair()
    hub.add(make_stream(), far, head=b"head", heard=b"")
    with near:
        assert near.recv(4) == b"head"
    wait_for(lambda: not hub._names, what="the stream to be forgotten")
    assert hub._new == []


@pytest.mark.parametrize("part_bytes", [1, 1000, hub_module.MAX_PART_BYTES])
@pytest.mark.parametrize("waiting_bytes", [0, connections.MAX_WAITING_BYTES])
def test_who_is_behind_in_different_places_gets_all_of_it(
    db, monkeypatch, part_bytes, waiting_bytes
):
    """A turn has no time for more than one of them, and little is sent at once."""
    monkeypatch.setattr(hub_module, "MAX_PART_BYTES", part_bytes)
    monkeypatch.setattr(connections, "MAX_WAITING_BYTES", waiting_bytes)
    monkeypatch.setattr(hub_module, "_CATCH_UP_SECONDS", 0.0)
    monkeypatch.setattr(hub_module, "PIECE", 3)
    for number in range(20):
        make_conversation(title=f"number {number}")
    latest = read_bounds().latest
    hub = Hub(lambda viewer: viewer)
    streams = []
    for place in range(6):
        stream = make_stream()
        stream.position = place
        streams.append(open_stream(hub, stream))
    for place, near in enumerate(streams):
        assert [e["id"] for e in read_all(near)] == list(range(place + 1, latest + 1))
