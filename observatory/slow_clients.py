"""Clients that send little by little, by intent or not: what they may hold, and for how long.

A thread is worth more than a connection. So requests arrive in a buffer that the event loop fills,
and get a thread once they are whole; only a large body is read by the thread that answers it.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from gunicorn.http.unreader import SocketUnreader

# A request line, headers and a small body together; a larger body comes while it is answered.
MAX_WAITING_BYTES = 64 * 1024
# So long a request may take to arrive in that buffer, and a thread may wait for more in all...
ARRIVAL_SECONDS = 20.0
# ... and a second for so many bytes on top.
MIN_BYTES_PER_SECOND = 8 * 1024
# One piece of an answer, of 64 KiB mostly, is taken by a client within this time.
SEND_SECONDS = 60.0
# When all other threads of a worker wait for slow clients, the last one waits no longer than this.
HASTY_SECONDS = 1.0
HASTY_BYTES_PER_SECOND = 1024 * 1024
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
_READS = re.compile(rb"[\r\n]*(GET|HEAD|OPTIONS) ")
_CONTINUE = re.compile(rb"\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


def is_head_whole(arrived: bytes | bytearray) -> bool:
    """Tell whether the line and the headers of a request have arrived."""
    return _HEAD_END in arrived


def may_write(arrived: bytes | bytearray) -> bool:
    """Tell whether a request has a method by which something may be written."""
    return _READS.match(arrived) is None


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


class Patience:
    """How many threads may wait for slow clients at once, so that one is left for all others.

    Args:
        threads: How many threads there are.
    """

    def __init__(self, threads: int) -> None:
        self._most = max(0, threads - 1)
        self._waiting = 0
        self._lock = threading.Lock()

    @contextmanager
    def wait(self) -> Iterator[bool]:
        """Count a thread that waits while a block runs; yield whether it may take its time."""
        with self._lock:
            self._waiting += 1
            is_one_too_many = self._waiting > self._most
        try:
            yield not is_one_too_many
        finally:
            with self._lock:
                self._waiting -= 1


class PatientSocket(socket.socket):
    """Sends at once what the system takes, and waits for the rest as long as threads are left."""

    patience: Patience
    # What is to have it once its request was answered, and what it sends first.
    stream: Any = None

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it.

        Raises:
            TimeoutError: The client is too slow to take it.
        """
        seconds = self.gettimeout()
        left = memoryview(data)
        if seconds == 0:
            super().sendall(left, flags)
            return
        try:
            self.settimeout(0)
            while left:
                left = left[self.send(left, flags) :]
        except BlockingIOError:
            with self.patience.wait() as has_time:
                hasty = HASTY_SECONDS + len(left) / HASTY_BYTES_PER_SECOND
                self.settimeout(seconds if has_time else hasty)
                super().sendall(left, flags)
        finally:
            self.settimeout(seconds)


class PatientUnreader(SocketUnreader):
    """Reads from a client as long as it keeps sending at some pace."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        super().__init__(sock)
        self._patience = patience
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
            with self._patience.wait() as has_time:
                most = ARRIVAL_SECONDS if has_time else HASTY_SECONDS
                self.sock.settimeout(min(left, most))
                data: bytes = super().chunk(size_hint)
        except TimeoutError:
            self.is_over = True
            raise
        finally:
            self._waited += monotonic() - began
            self.sock.settimeout(SEND_SECONDS)
        self._bytes += len(data)
        return data
