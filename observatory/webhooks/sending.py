"""One attempt: a POST to an address that was looked at first, within a bounded time.

The name of the host is resolved once, the addresses are judged, and the connection goes to exactly
one of those: a name that means something else a moment later leads nowhere. So the sockets are
our own, and ``http.client`` reads the answers only.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from observatory.webhooks.addresses import (
    Network,
    Target,
    UrlRefused,
    find_address,
    follow,
    is_permitted,
    parse_url,
)
from observatory.webhooks.retrying import parse_retry_after

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
# What comes after the status decides nothing; it is taken, for so long, so that a receiver does
# not see its answer refused.
_BODY_SECONDS = 1.0
MAX_BODY_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024
MAX_REDIRECTS = 3
_MAX_ADDRESSES = 4
_REDIRECTS = (307, 308)
_WITH_RETRY_AFTER = (429, 503)

# Returns the addresses that a name means, the best first; raises OSError.
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt.

    Attributes:
        status: Of the last answer, or ``None`` when none came.
        error: The kind of failure, from a small set, or ``None`` when it came through.
        retry_after: How many seconds the receiver asked to wait.
        was_stopped: Whether it was ended from here, and says nothing of the receiver.
    """

    status: int | None
    error: str | None
    retry_after: float | None = None
    was_stopped: bool = False


class _Failed(Exception):
    """An attempt ended; ``error`` is the kind of failure."""

    def __init__(self, error: str, status: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that a name means, in the order of the system.

    Raises:
        OSError: There are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class Attempt:
    """One delivery on its way; another thread may end it.

    Args:
        allowed: Networks that may be sent to though they are not public.
        resolver: Says which addresses a name means.
        tls: How to make sure of receivers; by default by the certificates of the system.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        resolver: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolver
        self._tls = tls
        self._deadline = 0.0
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._socket: socket.socket | None = None
        self._was_stopped = False

    def stop(self) -> None:
        """End the attempt at once, from another thread; it tells that it was stopped."""
        with self._lock:
            self._was_stopped = True
            self._woken.set()
            if self._socket is not None:
                with suppress(OSError):
                    # Not the method of a TLS socket, which pulls its state away from who reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def send(self, url: str, body: bytes, headers: Mapping[str, str], *, moment: float) -> Outcome:
        """Send a body, follow redirects, and return what came of it; it raises nothing.

        Args:
            url: Where to.
            body: JSON.
            headers: Others than those that every request has.
            moment: The present, in Unix time, for dates that the receiver names.
        """
        self._deadline = time.monotonic() + TOTAL_SECONDS
        try:
            outcome = self._follow(url, body, headers, moment=moment)
        except _Failed as failed:
            outcome = Outcome(failed.status, failed.error)
        except TimeoutError:
            # The time was over between a redirect and the next request.
            outcome = Outcome(None, "timeout")
        if self._was_stopped and outcome.error is not None:
            return Outcome(None, "stopped", was_stopped=True)
        return outcome

    def _follow(
        self, url: str, body: bytes, headers: Mapping[str, str], *, moment: float
    ) -> Outcome:
        try:
            target = parse_url(url)
        except UrlRefused:
            raise _Failed("url_refused") from None
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(target, _make_request(target, body, headers))
            status = answer.status
            if 200 <= status < 300:
                return Outcome(status, None)
            if status not in _REDIRECTS:
                asked = answer.headers.get("Retry-After") if status in _WITH_RETRY_AFTER else None
                return Outcome(status, "http_status", parse_retry_after(asked, moment=moment))
            try:
                target = follow(target, answer.headers.get("Location") or "")
            except UrlRefused:
                raise _Failed("redirect_refused", status) from None
        raise _Failed("too_many_redirects", status)

    def _exchange(self, target: Target, request: bytes) -> http.client.HTTPResponse:
        connection = self._connect(target)
        try:
            if target.scheme == "https":
                connection = self._secure(connection, target.host)
            return self._ask(connection, request)
        except TimeoutError:
            raise _Failed("timeout") from None
        except http.client.RemoteDisconnected:
            raise _Failed("connection_lost") from None
        except http.client.HTTPException:
            raise _Failed("bad_answer") from None
        except OSError:
            raise _Failed("connection_lost") from None
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _ask(self, connection: socket.socket, request: bytes) -> http.client.HTTPResponse:
        rest = memoryview(request)
        while rest:
            connection.settimeout(self._seconds_left())
            rest = rest[connection.send(rest) :]
        stream = _BoundedStream(connection, self._seconds_left)
        answer = http.client.HTTPResponse(_Readable(stream), method="POST")  # type: ignore[arg-type]
        try:
            answer.begin()
            stream.begin_body(min(self._deadline, time.monotonic() + _BODY_SECONDS))
            with suppress(OSError, http.client.HTTPException):
                answer.read(MAX_BODY_BYTES)
            return answer
        finally:
            answer.close()
            stream.close()

    def _connect(self, target: Target) -> socket.socket:
        addresses = self._find_addresses(target)
        permitted = [
            text
            for text in addresses
            if (found := find_address(text)) is not None
            and is_permitted(found, allowed=self._allowed)
        ][:_MAX_ADDRESSES]
        if not permitted:
            raise _Failed("address_refused")
        until = min(self._deadline, time.monotonic() + CONNECT_SECONDS)
        error = "connection_refused"
        for number, address in enumerate(permitted):
            left = (until - time.monotonic()) / (len(permitted) - number)
            if left <= 0:
                raise _Failed("connect_timeout")
            try:
                return self._open(address, target.port, seconds=left)
            except TimeoutError:
                error = "connect_timeout"
            except OSError:
                error = "connection_refused"
        raise _Failed(error)

    def _find_addresses(self, target: Target) -> Sequence[str]:
        if find_address(target.host) is not None:
            return [target.host]
        # The system's resolver knows no time limit and can not be ended: it is left behind.
        found: list[Sequence[str] | None] = []
        self._woken.clear()

        def ask() -> None:
            try:
                found.append(self._resolve(target.host, target.port))
            except (OSError, UnicodeError):
                found.append(None)
            self._woken.set()

        threading.Thread(target=ask, name="webhook-resolver", daemon=True).start()
        if not self._was_stopped:
            self._woken.wait(min(CONNECT_SECONDS, self._seconds_left()))
        if not found:
            raise _Failed("name_timeout")
        if found[0] is None:
            raise _Failed("name_unknown")
        return found[0]

    def _open(self, address: str, port: int, *, seconds: float) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._keep(connection)
            connection.settimeout(seconds)
            # What is an address already is not resolved again.
            connection.connect((address, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            with self._lock:
                self._socket = None
            connection.close()
            raise
        return connection

    def _keep(self, connection: socket.socket) -> None:
        """Let ``stop`` end what goes on with a connection."""
        with self._lock:
            if self._was_stopped:
                raise _Failed("stopped")
            self._socket = connection

    def _secure(self, connection: socket.socket, host: str) -> socket.socket:
        connection.settimeout(self._seconds_left())
        try:
            secure = (self._tls or _tls()).wrap_socket(
                connection, server_hostname=host.rstrip("."), do_handshake_on_connect=False
            )
        except (ssl.SSLError, ValueError):
            raise _Failed("tls") from None
        try:
            self._keep(secure)
            secure.do_handshake()
        except BaseException as error:
            secure.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise _Failed("certificate") from None
            if isinstance(error, ssl.SSLError):
                raise _Failed("tls") from None
            raise
        return secure

    def _seconds_left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _make_request(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Accept: */*",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


class _BoundedStream(io.RawIOBase):
    """What comes from a socket, up to a time and a number of bytes.

    A timeout of the socket alone begins anew with each byte that comes.
    """

    def __init__(self, connection: socket.socket, seconds_left: Callable[[], float]) -> None:
        self._connection = connection
        self._seconds_left = seconds_left
        self._bytes_left = _MAX_HEAD_BYTES
        self._until: float | None = None

    def begin_body(self, until: float) -> None:
        """Let the body come up to a time, by the monotonic clock."""
        self._until = until
        self._bytes_left = MAX_BODY_BYTES

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read what is there.

        Raises:
            http.client.HTTPException: It is too much.
            TimeoutError: It takes too long.
        """
        seconds = self._seconds_left()
        if self._until is not None:
            seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        if self._bytes_left <= 0:
            raise http.client.HTTPException("too much")
        self._connection.settimeout(seconds)
        number = self._connection.recv_into(buffer, min(len(buffer), self._bytes_left))
        self._bytes_left -= number
        return number


class _Readable:
    """What ``http.client`` takes for a socket."""

    def __init__(self, stream: _BoundedStream) -> None:
        self._stream = stream

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the stream that answers are read from."""
        return io.BufferedReader(self._stream)
