"""How events look on the wire: as Server-Sent Events, and as messages of a WebSocket.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html and RFC 6455.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import cached_property
from typing import Any

import orjson

from observatory.store.events import Event

RETRY_MS = 2000
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _FINAL = 0x1, 0x80


class Told:
    """An event with its body, and with how it looks on each wire: made once for all streams."""

    def __init__(self, event: Event, body: bytes) -> None:
        self.event = event
        self.body = body

    @cached_property
    def sse(self) -> bytes:
        """The event in a stream of Server-Sent Events."""
        head = f"id: {self.event.id}\nevent: {self.event.type}\ndata: "
        return b"".join((head.encode(), self.body, b"\n\n"))

    @cached_property
    def frame(self) -> bytes:
        """The event as a message of a WebSocket."""
        return text_frame(self.body)


def begin_sse(position: int) -> bytes:
    """Return how a stream begins: how soon to come again, and from where on."""
    return f"retry: {RETRY_MS}\nid: {position}\n\n".encode()


def beat_sse(position: int) -> bytes:
    """Return what keeps a quiet stream open: a comment, and where to go on from.

    Without data it is no event, and yet browsers take the id.
    """
    return f": \nid: {position}\n\n".encode()


def notice_sse(notice: dict[str, Any]) -> bytes:
    """Return something of the stream itself as an event without an id: it is not told again."""
    return b"".join((f"event: {notice['type']}\ndata: ".encode(), orjson.dumps(notice), b"\n\n"))


def text_frame(payload: bytes) -> bytes:
    """Return a whole text message of a server, which are not masked."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | _TEXT, length))
    elif length < 2**16:
        head = bytes((_FINAL | _TEXT, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | _TEXT, 127)) + length.to_bytes(8, "big")
    return head + payload


def accept_key(key: str) -> str | None:
    """Return the answer to ``Sec-WebSocket-Key``, or ``None`` when that is no 16 bytes."""
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
