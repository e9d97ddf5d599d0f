"""The body of an answer that goes on and on: handed to the hub, or else read by who serves it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from observatory.live.connections import Connection
from observatory.live.hub import Hub

# In the environment of a request: the server hands sockets over, so any protocol can be spoken.
CAN_HAND_OVER = "observatory.can_hand_over"
# How long a stream goes on under a server that hands no sockets over, for it holds a thread there;
# the client comes again and goes on where it was.
STREAM_SECONDS = "observatory.stream_seconds"
DEFAULT_STREAM_SECONDS = 25.0
# There an application leaves a stream whose answer can have no body: one that becomes a WebSocket.
UPGRADED = "observatory.upgraded"
_PIECE_BYTES = 64 * 1024


class Stream:
    """What a WSGI application returns for a stream.

    A server that knows it calls ``take_over`` with the socket, and has its thread back. Any other
    iterates, and gets the same bytes, as they come.
    """

    def __init__(self, hub: Hub, connection: Connection) -> None:
        self.hub = hub
        self._connection = connection
        self._end: socket.socket | None = None

    def take_over(self, sock: socket.socket, *, head: bytes, heard: bytes) -> None:
        """Let the hub send everything, status and headers included.

        Args:
            sock: The connection with the client.
            head: Status and headers.
            heard: What the client sent behind its request.
        """
        self.hub.add(self._connection, sock, head=head, heard=heard)

    def __iter__(self) -> Iterator[bytes]:
        """Yield what the hub sends, waiting for it."""
        self._end, far = socket.socketpair()
        self.hub.add(self._connection, far, head=b"", heard=b"")
        while data := self._end.recv(_PIECE_BYTES):
            yield data

    def close(self) -> None:
        """Let the hub know that nobody reads on."""
        if self._end is not None:
            self._end.close()
