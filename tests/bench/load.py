"""HTTP load on the loopback interface over keep-alive connections.

``wrk`` makes it when it is installed; else a client of our own on epoll, which takes more of the
processor away from the server.
"""

import errno
import itertools
import os
import select
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import orjson

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_WRK_REPORT = Path(__file__).with_name("wrk_report.lua")
_RECEIVE_BYTES = 1 << 18
_ANSWER_TIMEOUT_SECONDS = 10
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class LoadFailed(Exception):
    """The load could not be made at all."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a run of load met. ``requests`` were answered.

    Times are of answered requests only, so a server that answers nothing would look perfect:
    ``unanswered`` counts the connections that can not have had a single answer, and with any of
    them the slowest times are at least the length of the run.
    """

    client: str
    connections: int
    seconds: float
    requests: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    errors: int
    unanswered: int = 0


def run_load(
    url: str,
    *,
    connections: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    paths: Sequence[str] = (),
) -> LoadResult:
    """Ask for one URL again and again, and return how fast it was answered.

    Args:
        url: What to ask for.
        connections: How many connections ask at once, each for the next when it has the last.
        seconds: For how long.
        headers: What is sent with each request.
        body: JSON to post each time; without it the requests are GETs.
        paths: Ask for these in turns, instead of the one of the URL.

    Raises:
        ValueError: The URL is not on the loopback interface.
        LoadFailed: No request was made.
    """
    if urlsplit(url).hostname not in _LOOPBACK:
        raise ValueError(f"load is for the loopback interface only: {url}")
    wrk = shutil.which("wrk")
    sent = dict(headers or {})
    if body is not None:
        sent["Content-Type"] = "application/json"
    if wrk:
        result = _run_wrk(
            wrk, url, connections=connections, seconds=seconds, headers=sent, body=body, paths=paths
        )
    else:
        result = _Client(url, connections, sent, body, paths).run(seconds)
    return count_unanswered(result)


def count_unanswered(result: LoadResult) -> LoadResult:
    """Return a result that does not hide the connections without an answer."""
    unanswered = max(0, result.connections - result.requests - result.errors)
    if not unanswered:
        return result
    least_ms = 1e3 * result.seconds
    return replace(
        result,
        p99_ms=max(result.p99_ms, least_ms),
        max_ms=max(result.max_ms, least_ms),
        unanswered=unanswered,
    )


def combine_loads(results: Sequence[LoadResult]) -> LoadResult:
    """Return several runs as one: medians, the largest maximum, all errors."""
    middle = statistics.median
    return LoadResult(
        client=results[0].client,
        connections=results[0].connections,
        seconds=sum(result.seconds for result in results),
        requests=sum(result.requests for result in results),
        requests_per_second=middle(result.requests_per_second for result in results),
        p50_ms=middle(result.p50_ms for result in results),
        p95_ms=middle(result.p95_ms for result in results),
        p99_ms=middle(result.p99_ms for result in results),
        max_ms=max(result.max_ms for result in results),
        errors=sum(result.errors for result in results),
        unanswered=sum(result.unanswered for result in results),
    )


def _run_wrk(
    wrk: str,
    url: str,
    *,
    connections: int,
    seconds: float,
    headers: dict[str, str],
    body: bytes | None,
    paths: Sequence[str],
) -> LoadResult:
    whole_seconds = max(1, round(seconds))
    command = [wrk, f"-t{min(2, connections)}", f"-c{connections}", f"-d{whole_seconds}s"]
    command += ["--timeout", f"{_ANSWER_TIMEOUT_SECONDS}s", "-s", str(_WRK_REPORT)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    limit_seconds = whole_seconds + 3 * _ANSWER_TIMEOUT_SECONDS
    env = {**os.environ, "BENCH_BODY": (body or b"").decode(), "BENCH_PATHS": "\n".join(paths)}
    done = subprocess.run(
        [*command, url], capture_output=True, text=True, check=False, timeout=limit_seconds, env=env
    )
    _, found, report = done.stdout.partition("\nJSON")
    if not found:
        raise LoadFailed(f"wrk: {done.stdout[-300:]} {done.stderr[-300:]}")
    counted = orjson.loads(report)
    duration = counted["duration"] / 1e6
    return LoadResult(
        client="wrk",
        connections=connections,
        seconds=duration,
        requests=counted["requests"],
        requests_per_second=counted["requests"] / duration,
        p50_ms=counted["p50"] / 1e3,
        p95_ms=counted["p95"] / 1e3,
        p99_ms=counted["p99"] / 1e3,
        max_ms=counted["max"] / 1e3,
        errors=counted["errors"],
    )


class _Connection:
    """One keep-alive connection with one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.socket.connect_ex(address) not in (0, errno.EINPROGRESS):
            raise LoadFailed(f"no connection to {address}")
        self.asked_at = 0.0
        self._received = b""
        self._missing = -1
        self._is_good = False
        # Of an answer in chunks, the end of what has come: the last of them is empty.
        self._tail: bytes | None = None

    def ask(self, request: bytes) -> None:
        """Send the request; it is small enough for the socket's buffer."""
        self.asked_at = time.perf_counter()
        self._received, self._missing, self._tail = b"", -1, None
        self.socket.send(request)

    def receive(self) -> bool | None:
        """Return whether the answer was good, or ``None`` while more of it is to come.

        Raises:
            ConnectionError: The server closed the connection, or its answer has no length.
        """
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("closed")
        if self._tail is not None:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
        elif self._missing >= 0:
            self._missing -= len(data)
        else:
            self._received += data
            self._read_head()
        is_whole = self._missing == 0 or self._tail == _LAST_CHUNK
        return self._is_good if is_whole else None

    def _read_head(self) -> None:
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self._missing = int(line[15:]) - len(body)
                break
            if line.startswith(b"transfer-encoding:"):
                self._tail = body[-len(_LAST_CHUNK) :]
                break
        else:
            raise ConnectionError("answer without a length")
        self._is_good = int(head.split(b" ", 2)[1]) < 400


class _Client:
    """A closed loop over all connections in one thread."""

    def __init__(
        self,
        url: str,
        connections: int,
        headers: Mapping[str, str],
        body: bytes | None,
        paths: Sequence[str],
    ) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        method = "GET" if body is None else "POST"
        lines = [f"Host: {parts.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        rest = ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")
        self._requests = itertools.cycle(
            [f"{method} {each} HTTP/1.1\r\n".encode() + rest for each in paths or (path,)]
        )
        self._count = connections
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._times: list[float] = []
        self._errors = 0

    def run(self, seconds: float) -> LoadResult:
        """Ask for so many seconds, whatever the server does."""
        for _ in range(self._count):
            self._connect()
        started = time.perf_counter()
        ends = started + seconds
        while (left := ends - time.perf_counter()) > 0:
            for number, event in self._poll.poll(left):
                self._handle(number, event)
        seconds = time.perf_counter() - started
        for connection in self._open.values():
            connection.socket.close()
        self._poll.close()
        return self._summarise(seconds)

    def _connect(self) -> None:
        connection = _Connection(self._address)
        self._open[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLOUT)

    def _handle(self, number: int, event: int) -> None:
        connection = self._open[number]
        try:
            if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                self._poll.modify(number, select.EPOLLIN)
                connection.ask(next(self._requests))
                return
            is_good = connection.receive()
        except OSError:
            self._errors += 1
            del self._open[number]
            connection.socket.close()
            self._connect()
            return
        if is_good is None:
            return
        if is_good:
            self._times.append(time.perf_counter() - connection.asked_at)
        else:
            self._errors += 1
        connection.ask(next(self._requests))

    def _summarise(self, seconds: float) -> LoadResult:
        times = sorted(self._times) or [0.0]

        def find(share: float) -> float:
            return 1e3 * times[min(len(times) - 1, int(share * len(times)))]

        return LoadResult(
            client="python",
            connections=self._count,
            seconds=seconds,
            requests=len(self._times),
            requests_per_second=len(self._times) / seconds,
            p50_ms=find(0.5),
            p95_ms=find(0.95),
            p99_ms=find(0.99),
            max_ms=1e3 * times[-1],
            errors=self._errors,
        )
