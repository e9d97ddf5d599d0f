"""What gunicorn is taught: to refuse in our envelope, to log nothing that a client sent, and to
let no slow client hold a thread.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple

from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.http.message import HeaderPolicy
from gunicorn.http.wsgi import base_environ
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from observatory.api.answers import JSON, make_error
from observatory.api.errors import BUSY, BY_STATUS, MENDING_SECONDS, find_storage_failure
from observatory.api.exchange import PROTECTING_HEADERS, make_request_id
from observatory.errors import ObservatoryError
from observatory.fair_shares import SHARES, count_waiting
from observatory.live.handing_over import CAN_HAND_OVER, UPGRADED, Stream
from observatory.live.hub import Hub
from observatory.log import log, log_request
from observatory.metrics import observe_request, tell_in_flight
from observatory.quick_requests import Kept, write_answer
from observatory.slow_clients import (
    ARRIVAL_SECONDS,
    MAX_WAITING_BYTES,
    SEND_SECONDS,
    Patience,
    PatientSocket,
    PatientUnreader,
    is_head_whole,
    is_ready,
    may_write,
    waits_for_continue,
)
from observatory.store.database import (
    BUSY_TIMEOUT_MS,
    DatabaseError,
    close,
    connect,
    seconds_of_turn,
)
from observatory.store.together import End, run_together


class Refusal(NamedTuple):
    """How what never reaches the application is answered."""

    status: int
    code: str
    message: str
    retry_seconds: int = 0


_FAILURE = Refusal(500, "INTERNAL_ERROR", "Something went wrong here; the log tells what.")
_NO_REQUEST = Refusal(400, "VALIDATION_ERROR", "This is no request of HTTP/1.1.")
_BUSY = Refusal(503, BUSY.code, BUSY.message, 1)
_LONG_LINE = Refusal(414, "URI_TOO_LONG", "The address is too long.")
_LONG_HEADERS = Refusal(431, "HEADERS_TOO_LARGE", "Headers are too many or too long.")
# The first kind that fits counts.
_REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (
    (errors.LimitRequestLine, _LONG_LINE),
    (errors.LimitRequestHeaders, _LONG_HEADERS),
    (
        errors.ExpectationFailed,
        Refusal(417, "VALIDATION_ERROR", "Expect takes 100-continue only."),
    ),
    (
        errors.UnsupportedTransferCoding,
        Refusal(501, "VALIDATION_ERROR", "Transfer-Encoding takes chunked only."),
    ),
    (errors.ParseException, _NO_REQUEST),
)


class ServerLog(Logger):
    """Gunicorn's log, but what fails in a request is told without the request's own text."""

    def exception(self, msg: Any, *_args: Any, **_kwargs: Any) -> None:
        """Log the exception at hand; what is put into the message may be an address."""
        log.error("server_failed", message=str(msg), exc_info=True)


def find_refusal(error: BaseException) -> Refusal:
    """Return how to answer what stopped a request before or beside the application."""
    failure = find_storage_failure(error)
    if failure is not None:
        # The first piece of an answer that comes in pieces; what fails later breaks the connection.
        status, message = failure
        return Refusal(status, BY_STATUS[status].code, message, MENDING_SECONDS)
    return next((refusal for kind, refusal in _REFUSALS if isinstance(error, kind)), _FAILURE)


def write_refusal(client: socket.socket, address: Any, refusal: Refusal) -> None:
    """Answer in the envelope, with the headers that every answer has, and end the connection."""
    status = refusal.status
    started = perf_counter()
    request_id = make_request_id()
    body = make_error(code=refusal.code, message=refusal.message, request_id=request_id)
    headers = {
        "Content-Type": JSON,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "X-Request-ID": request_id,
        **dict(PROTECTING_HEADERS),
    }
    if refusal.retry_seconds:
        headers["Retry-After"] = str(refusal.retry_seconds)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    seconds = perf_counter() - started
    observe_request(None, "OTHER", str(status), seconds)
    log_request(
        is_watched=False,
        request_id=request_id,
        method=None,
        route=None,
        status=status,
        seconds=seconds,
        identity=None,
        address=address[0] if isinstance(address, tuple) else None,
    )
    try:
        write_nonblock(client, f"{first}{head}\r\n".encode("latin-1") + body)
    except OSError:
        log.debug("refusal_not_sent", request_id=request_id)


def make_head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the first bytes of an answer that ends with its connection, or becomes another."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() == "connection" for name, _ in headers):
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


_LINGER_SECONDS = 2.0
# The system has no more for this process, or at all; a worker that ends takes its streams along.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_SECONDS = 0.1
# Those that come while so many are let in wait until others were answered.
_MOST_AT_ONCE = 512
# Of so many hosts it is known whether they are proxies whose word is taken.
_MOST_HOSTS = 256
# So long takes another worker to wake up, and to take what waits.
_GIVE_WAY_SECONDS = 0.0005
# Small writes that share a thread and a transaction: the first is answered when the last is kept,
# and all have to be kept in the time that one may take, which many messages in one body need.
_MOST_TOGETHER = 32
_MOST_BYTES_TOGETHER = MAX_WAITING_BYTES
# A turn to write that lasts as long is no queue that moves, but a lock that somebody else holds.
_STUCK_SECONDS = 1.0


class _Peer(HeaderPolicy):
    """Asks gunicorn whether a client is a proxy whose word is taken."""

    def __init__(self, cfg: Any, address: Any) -> None:
        self.cfg = cfg
        self.peer_addr = address


def find_scheme_headers(cfg: Any, host: str) -> dict[str, str]:
    """Return which variables of WSGI a client is believed about its scheme, and what means TLS."""
    found, _ = _Peer(cfg, (host, 0))._peer_trusted_for_forwarded()
    return {f"HTTP_{name.replace('-', '_')}": value for name, value in found.items()}


class Connection(TConn):
    """A connection, and what is kept of it between its requests."""

    def __init__(self, cfg: Any, client: PatientSocket, address: Any, server: Any) -> None:
        super().__init__(cfg, client, address, server)
        self.kept: Kept | None = None
        # Its request, where that is a small write.
        self.variables: dict[str, Any] | None = None
        # Whether its request holds one of the threads that may write.
        self.writes = False
        # Where it stands in line for its timeout: it may have been given more time since.
        self.due = 0.0
        self.begin(bytearray())

    def begin(self, arrived: bytearray) -> None:
        """Begin to read a request, of which so much is here."""
        self.arrived = arrived
        self.is_at_end = self.is_told_to_continue = False


class Worker(ThreadWorker):
    """A gthread worker whose threads do not wait for slow clients, nor reads for writes.

    What may write gets ``WEB_THREADS`` threads, and waits for one in the order in which it came;
    there is one thread more, so that reads have one when all others wait for the database's lock.
    It refuses what is no request as the application refuses, and answers small reads without a
    thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._leaving: deque[Any] = deque()
        self._tell_at = 0.0
        self._patience = Patience(self.cfg.threads)
        self._hub: Hub | None = None
        self._variables = {
            **base_environ(self.cfg),
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
        }
        self._find_scheme_headers = lru_cache(_MOST_HOSTS)(partial(find_scheme_headers, self.cfg))
        # What gunicorn does beside answering, where it was asked for, it does for all requests.
        self._is_quick = not (
            self.cfg.is_ssl
            or self.cfg.accesslog
            or self.cfg.statsd_host
            or self.cfg.max_requests
            or str(self.cfg.proxy_protocol) not in ("off", "False")
            or os.environ.get("SCRIPT_NAME")
        )
        # Threads that requests have which may write, and those requests that wait for one.
        self._writes = 0
        self._waiting_writes: deque[Any] = deque()
        # Those of them that share one.
        self._small_writes: deque[Any] = deque()
        self._is_together = False
        # The shorter one: graceful_timeout is how long a request may take.
        self._write_patience = min(BUSY_TIMEOUT_MS / 1000, float(self.cfg.graceful_timeout))

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the threads that answer."""
        return ThreadPoolExecutor(self.cfg.threads + 1)

    def load_wsgi(self) -> None:
        """Load the application, and look at what it returns."""
        super().load_wsgi()
        self._application: Any = self.wsgi
        self.wsgi: Any = self._call

    def _call(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Call the application; note which connection becomes a stream, and leave it as it is.

        Raises:
            StopIteration: It did, which gunicorn takes as a sign to send nothing.
        """
        client = environ["gunicorn.socket"]
        # Over TLS of its own a socket can not be told by the system alone when it is ready.
        environ[CAN_HAND_OVER] = not self.cfg.is_ssl
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = (status, headers)
            return start_response(status, headers, exc_info)

        answer = self._application(environ, start)
        if started[0].startswith("101"):
            answer = environ.get(UPGRADED, answer)
        if isinstance(answer, Stream) and not self.cfg.is_ssl:
            client.stream = (answer, make_head(*started))
            raise StopIteration
        return answer

    def accept(self, listener: Any) -> None:
        """Take this worker's share of those that wait to be let in.

        Between two calls all others are answered that have asked, so of a thousand clients that
        come at once the last would wait for as many rounds as it takes to let them in. A worker
        takes its share of them at once; who has fewer takes the first, so that of few each has one.
        """
        SHARES.tell(self.age, self.nr_conns)
        if SHARES.has_less(self.nr_conns):
            time.sleep(_GIVE_WAY_SECONDS)
        left = _MOST_AT_ONCE + self.nr_conns // 2
        # One in any case: who has fewer may be at work.
        wanted = 1
        while wanted:
            for _ in range(wanted):
                if self.nr_conns >= self.worker_connections or not self._take(listener):
                    return
                SHARES.tell(self.age, self.nr_conns)
            left -= wanted
            missing = SHARES.count_missing(self.nr_conns, waiting=count_waiting(listener))
            wanted = min(left, missing)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Answer who has asked, and tell how many connections are left."""
        super().wait_for_and_dispatch_events(timeout)
        SHARES.tell(self.age, self.nr_conns)

    def _take(self, listener: Any) -> bool:
        """Take a connection and read what it has sent already; tell whether there may be more."""
        if self.cfg.is_ssl:
            super().accept(listener)
            return False
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # It stays in the queue, and the loop comes here again at once.
                log.warning("no_connection_taken", reason=os.strerror(error.errno))
                time.sleep(_EXHAUSTED_SECONDS)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return False
        self.nr_conns += 1
        client = PatientSocket(fileno=client.detach())
        client.patience = self._patience
        conn = Connection(self.cfg, client, address, listener.getsockname())
        if self._is_quick and isinstance(address, tuple):
            conn.kept = Kept(
                self._variables,
                client=address,
                server=conn.server,
                scheme_headers=self._find_scheme_headers(address[0]),
            )
        self._wait_for_request(conn, bytearray())
        return True

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Begin to read the next request of a connection."""
        is_whole = False
        if not self.cfg.is_ssl:
            conn.begin(bytearray())
            is_whole = self._read(conn)
            if is_whole and self._answer_quickly(conn, is_waiting=True):
                return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        if self.cfg.is_ssl:
            self.enqueue_req(conn)
        elif is_whole:
            self._dispatch(conn)
        else:
            self._wait_for_more(conn)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """Read on."""
        if self.cfg.is_ssl:
            super().on_pending_socket_readable(conn, client)
            return
        if self._read(conn):
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._dispatch(conn)

    def _wait_for_request(self, conn: Any, arrived: bytearray) -> None:
        """Give a request a thread once it has arrived; until then it holds none."""
        conn.begin(arrived)
        if (arrived and is_ready(arrived)) or self._read(conn):
            self._dispatch(conn)
        else:
            self._wait_for_more(conn)

    def _wait_for_more(self, conn: Any) -> None:
        conn.timeout = time.monotonic() + ARRIVAL_SECONDS
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def _read(self, conn: Any) -> bool:
        """Read what is there, and tell whether there is no more to wait for."""
        try:
            data = conn.sock.recv(MAX_WAITING_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        conn.arrived += data
        conn.is_at_end = not data
        is_long = len(conn.arrived) >= MAX_WAITING_BYTES
        if conn.is_at_end or is_long or is_ready(conn.arrived):
            return True
        if not conn.is_told_to_continue and waits_for_continue(conn.arrived):
            conn.is_told_to_continue = True
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return False

    def _dispatch(self, conn: Any) -> None:
        """Have a request answered, or refuse what did not become one."""
        if is_head_whole(conn.arrived):
            if not self._answer_quickly(conn, is_waiting=False):
                self._give_thread(conn)
            return
        if not conn.is_at_end:
            # So long a line is refused as a line, and as headers else.
            is_line = b"\n" not in conn.arrived
            write_refusal(conn.sock, conn.client, _LONG_LINE if is_line else _LONG_HEADERS)
        elif conn.arrived.strip():
            write_refusal(conn.sock, conn.client, _NO_REQUEST)
        self._leave(conn)

    def _answer_quickly(self, conn: Any, *, is_waiting: bool) -> bool:
        """Answer a small read at once, and tell whether it was one.

        Args:
            conn: A connection on which a request has arrived.
            is_waiting: Whether it is among those that wait for one.
        """
        variables = None if conn.kept is None else conn.kept.read(conn.arrived)
        if variables is None:
            return False
        left, ends = self._answer_at_once(conn, variables, ends=self._ends_connections())
        if is_waiting and not left and not ends:
            conn.timeout = time.monotonic() + self.cfg.keepalive
            return True
        if is_waiting:
            self.poller.unregister(conn.sock)
            self.keepalived_conns.remove(conn)
        self._go_on(conn, left, ends=ends)
        return True

    def _ends_connections(self) -> bool:
        """Tell whether connections end with the next answer."""
        has_many = len(self.keepalived_conns) >= self.max_keepalived
        return not self.alive or not self.cfg.keepalive or has_many

    def _answer_at_once(
        self, conn: Any, variables: dict[str, Any], *, ends: bool
    ) -> tuple[bytes, bool]:
        """Answer a small request, and wait for nobody.

        Returns:
            What the system did not take of the answer, and whether the connection ends.
        """
        left = b""
        try:
            left = self._make_answer(variables, conn.sock, ends=ends)
            left = left[conn.sock.send(left) :]
        except BlockingIOError:
            pass
        except OSError:
            return b"", True
        except Exception as error:
            self.handle_error(None, conn.sock, conn.client, error)
            return b"", True
        return left, ends

    def _make_answer(
        self, variables: dict[str, Any], client: PatientSocket, *, ends: bool
    ) -> bytes:
        """Call the application, and return all that is to be sent."""
        variables["gunicorn.socket"] = client
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started[:] = (status, headers)

        pieces = self._application(variables, start)
        try:
            return write_answer(started[0], started[1], body=b"".join(pieces), ends=ends)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def _send_rest(self, conn: Any, left: bytes, *, ends: bool) -> bool:
        """Send what the system did not take at once. Runs in a thread."""
        conn.sock.settimeout(SEND_SECONDS)
        try:
            conn.sock.sendall(left)
        except TimeoutError:
            self._tell_slow(conn)
            return False
        return not ends

    def _keep(self, conn: Any) -> None:
        """Wait for the next request of a connection."""
        conn.sock.setblocking(False)
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
        conn.due = conn.timeout
        self.keepalived_conns.append(conn)
        readable = partial(self.on_client_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def _give_thread(self, conn: Any) -> None:
        """Have a request answered at once, or when it is its turn among those that may write."""
        if not may_write(conn.arrived):
            self.enqueue_req(conn)
            return
        conn.timeout = time.monotonic() + self._write_patience
        conn.variables = None if conn.kept is None else conn.kept.read_write(conn.arrived)
        if conn.variables is None:
            self._waiting_writes.append(conn)
        else:
            # All of it is in the variables, and many may wait.
            conn.begin(bytearray())
            self._small_writes.append(conn)
        self._begin_writes()

    def _begin_writes(self) -> None:
        """Give threads to requests that may write, in their order, as long as there are any."""
        while self._writes < self.cfg.threads:
            small = None if self._is_together or not self._small_writes else self._small_writes[0]
            first = self._waiting_writes[0] if self._waiting_writes else None
            if small is not None and (first is None or small.timeout <= first.timeout):
                self._begin_together()
            elif first is not None:
                self._waiting_writes.popleft()
                self._writes += 1
                first.writes = True
                self.enqueue_req(first)
            else:
                return

    def _begin_together(self) -> None:
        """Give a thread to the small writes that wait."""
        self._writes += 1
        self._is_together = True
        conns = self._take_small_writes()
        ends = self._ends_connections()
        tasks = [partial(self._answer_at_once, conn, conn.variables, ends=ends) for conn in conns]
        running = self.tpool.submit(run_together, tasks)
        running.add_done_callback(
            lambda ended: self.method_queue.defer(self._end_together, conns, ended)
        )

    def _take_small_writes(self) -> list[Any]:
        """Take the first of the small writes that wait, and others as long as all are small."""
        conns = [self._small_writes.popleft()]
        left = _MOST_BYTES_TOGETHER - int(conns[0].variables["CONTENT_LENGTH"])
        while self._small_writes and len(conns) < _MOST_TOGETHER:
            left -= int(self._small_writes[0].variables["CONTENT_LENGTH"])
            if left < 0:
                break
            conns.append(self._small_writes.popleft())
        return conns

    def _end_together(self, conns: list[Any], ended: Future[list[End]]) -> None:
        """Go on with connections whose small writes were answered."""
        self._is_together = False
        self._writes -= 1
        self._begin_writes()
        failure = None if ended.cancelled() else ended.exception()
        if failure is not None:
            log.error("server_failed", message="Error in writes that share", exc_info=failure)
        has_failed = ended.cancelled() or failure is not None
        for conn, end in zip(
            conns, [End()] * len(conns) if has_failed else ended.result(), strict=True
        ):
            if end.error is not None:
                self.handle_error(None, conn.sock, conn.client, end.error)
            left, ends = end.result or (b"", True)
            conn.variables = None
            self._go_on(conn, left, ends=ends)

    def _go_on(self, conn: Any, left: bytes, *, ends: bool) -> None:
        """Send what is left of an answer, and then end the connection or wait for the next."""
        if left:
            self._send_later(conn, left, ends=ends)
        elif ends:
            self._leave(conn)
        else:
            self._keep(conn)

    def _send_later(self, conn: Any, left: bytes, *, ends: bool) -> None:
        """Have a thread send what the system did not take at once."""
        sending = self.tpool.submit(self._send_rest, conn, left, ends=ends)
        sending.add_done_callback(
            lambda sent: self.method_queue.defer(self.finish_request, conn, sent)
        )

    def _end_write(self) -> None:
        """Give the thread of a request that may have written to the next one."""
        self._writes -= 1
        self._begin_writes()

    def _refuse_waiting_writes(self) -> None:
        """Refuse who has waited for as long as a thread would wait for the database's lock.

        Only while somebody else holds that: what waits for other requests will have its turn.
        """
        for waiting in (self._small_writes, self._waiting_writes):
            while (
                waiting
                and waiting[0].timeout <= time.monotonic()
                and seconds_of_turn() > _STUCK_SECONDS
            ):
                conn = waiting.popleft()
                write_refusal(conn.sock, conn.client, _BUSY)
                self._leave(conn)

    def handle(self, conn: Any) -> Any:
        """Answer a request that has arrived. Runs in a thread."""
        if not self.cfg.is_ssl:
            conn.data_ready = True
            conn.init()
            if not isinstance(conn.parser.unreader, PatientUnreader):
                conn.parser.unreader = PatientUnreader(conn.sock, self._patience)
            conn.parser.unreader.begin()
            conn.parser.unreader.unread(bytes(conn.arrived))
            conn.arrived = bytearray()
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; a client that does not take the answer is left."""
        conn.sock.settimeout(SEND_SECONDS)
        try:
            return super().handle_request(req, conn)
        except TimeoutError:
            self._tell_slow(conn)
            return False

    def _tell_slow(self, conn: Any) -> None:
        log.info("client_too_slow", address=conn.client[0] if conn.client else None)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Tell whether the connection can be reused: not when its last body did not end."""
        if getattr(conn.parser.unreader, "is_over", False):
            return False
        return bool(super()._keepalive_after(conn, keepalive))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Wait for the next request, or end the connection without waiting for the client."""
        if getattr(conn, "writes", False):
            conn.writes = False
            self._end_write()
        if self.cfg.is_ssl or fs.cancelled() or fs.exception() is not None:
            super().finish_request(conn, fs)
        elif conn.sock.stream is not None:
            self._hand_over(conn)
        elif not fs.result():
            self._leave(conn)
        elif conn.parser is not None and conn.parser.unreader.buf.getvalue():
            # The beginning of the next request, which may be slow to come.
            conn.sock.setblocking(False)
            self._wait_for_request(conn, bytearray(conn.parser.unreader.take_buffered()))
        else:
            self._keep(conn)

    def _hand_over(self, conn: Any) -> None:
        """Let the hub have a connection, which is none of this server's from then on."""
        stream, head = conn.sock.stream
        self._hub = stream.hub
        self.nr_conns -= 1
        stream.take_over(conn.sock, head=head, heard=conn.parser.unreader.take_buffered())

    def run(self) -> None:
        """Serve until the end, and then until the streams have ended, too.

        The database is open all the time, so that no thread ever begins with other files of it.
        """
        try:
            connect()
        except (DatabaseError, ObservatoryError) as error:
            log.warning("database_not_opened", reason=str(error))
        super().run()
        if self._hub is not None:
            self._hub.end()
        close()

    def _leave(self, conn: Any) -> None:
        """Say that no more comes, and close once the client has, or soon.

        Gunicorn waits for that in its event loop, which stops everybody for two seconds.
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            drained = partial(self._drain, conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, drained)
        except (OSError, ValueError):
            self._close(conn)
            return
        conn.timeout = time.monotonic() + _LINGER_SECONDS
        self._leaving.append(conn)

    def _drain(self, conn: Any, client: Any) -> None:
        """Pass over what a client still sends, so that it gets to read the answer."""
        try:
            is_over = not client.recv(MAX_WAITING_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            is_over = True
        if is_over:
            self._leaving.remove(conn)
            self.poller.unregister(client)
            self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections that had no request for too long.

        One that was answered by the loop keeps its place in line, though it has more time now.
        """
        if self.cfg.is_ssl:
            super().murder_keepalived(force)
            return
        now = time.monotonic()
        line = self.keepalived_conns
        while line and (force or min(line[0].due, line[0].timeout) <= now):
            conn = line.popleft()
            if conn.timeout > now and not force:
                conn.due = conn.timeout
                line.append(conn)
                continue
            self.poller.unregister(conn.sock)
            self._close(conn)

    def notify(self) -> None:
        """Show that this worker lives, and each second what it works on."""
        super().notify()
        moment = time.monotonic()
        if moment >= self._tell_at:
            self._tell_at = moment + 1
            tell_in_flight()

    def murder_pending(self) -> None:
        """Close connections that took too long to send a request, or to end."""
        super().murder_pending()
        self._refuse_waiting_writes()
        now = time.monotonic()
        while self._leaving and self._leaving[0].timeout <= now:
            conn = self._leaving.popleft()
            self.poller.unregister(conn.sock)
            self._close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """Wait no longer for requests than for connections when the worker stops."""
        self._stop_listening()
        super()._cap_keepalive(deadline)
        if self._hub is not None:
            self._hub.begin_to_end()
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _stop_listening(self) -> None:
        """Take who waits to be let in, and let the system refuse others at once.

        Gunicorn closes its sockets last: who came meanwhile would be let in by the system, wait
        as long as the last request takes, and then be cut off without an answer.
        """
        for listener in self.sockets:
            count = -1
            while count < self.nr_conns < self.worker_connections:
                count = self.nr_conns
                self._take(listener)
            listener.close()

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what can not be read, or failed outside of the application."""
        refusal = find_refusal(exc)
        if refusal is _FAILURE or refusal.retry_seconds:
            log.error("server_failed", message="Error handling request", exc_info=exc)
        write_refusal(client, addr, refusal)
