"""Clients that send little by little, by intent or not: what they may hold, and for how long.

A thread is worth more than a connection. So requests arrive in a buffer that the event loop fills,
and get a thread once they are whole; only a large body is read by the thread that answers it.
"""

from __future__ import annotations

import re
import socket
from time import monotonic

from gunicorn.http.unreader import SocketUnreader

# A request line, headers and a small body together; a larger body comes while it is answered.
MAX_WAITING_BYTES = 64 * 1024
# So long a request may take to arrive in that buffer, and a thread may wait for more in all...
ARRIVAL_SECONDS = 20.0
# ... and a second for so many bytes on top.
MIN_BYTES_PER_SECOND = 8 * 1024
# One piece of an answer, of 64 KiB mostly, is taken by a client within this time.
SEND_SECONDS = 60.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
_CONTINUE = re.compile(rb"\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


def is_head_whole(arrived: bytes | bytearray) -> bool:
    """Tell whether the line and the headers of a request have arrived."""
    return _HEAD_END in arrived


def waits_for_continue(arrived: bytes | bytearray) -> bool:
    """Tell whether the client sends the body only once it is told to."""
    end = arrived.find(_HEAD_END)
    return end >= 0 and _CONTINUE.search(arrived, 0, end + 2) is not None


def is_ready(arrived: bytes | bytearray) -> bool:
    """Tell whether a request is whole, or so much of it that the client has shown its pace."""
    end = arrived.find(_HEAD_END)
    if end < 0:
        return False
    if len(arrived) >= MAX_WAITING_BYTES:
        return True
    head = bytes(arrived[: end + 2]).lower()
    begin = end + len(_HEAD_END)
    if b"\ntransfer-encoding:" in head:
        # Each chunk may end like the last: then the rest comes while the request is answered.
        return len(arrived) > begin and arrived.endswith(_HEAD_END)
    if b"\ncontent-length:" not in head:
        return True
    found = _LENGTH.search(head)
    # What is no length is refused by who reads it.
    return found is None or len(arrived) >= begin + int(found[1])


class PatientUnreader(SocketUnreader):
    """Reads from a client as long as it keeps sending at some pace."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        """Give the next request its time."""
        self._waited = 0.0
        self._bytes = 0
        self.is_over = False

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return what comes next, and nothing at the end.

        Raises:
            TimeoutError: The client is too slow.
        """
        left = ARRIVAL_SECONDS + self._bytes / MIN_BYTES_PER_SECOND - self._waited
        began = monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(min(left, ARRIVAL_SECONDS))
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            self.is_over = True
            raise
        finally:
            self._waited += monotonic() - began
            self.sock.settimeout(SEND_SECONDS)
        self._bytes += len(data)
        return data
