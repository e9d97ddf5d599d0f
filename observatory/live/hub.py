"""The hub: one thread of a worker that reads new events once and tells all its streams.

It owns the sockets of streams, so that they hold no thread. Each client has a position in the
events. One that has taken everything is told what is new as it comes; one that has not, or has just
come, is behind, and is told the rest from the database, as it is then. So nothing is left out and
nothing is told twice, whoever is slow, and what is gone meanwhile is told to nobody.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from operator import attrgetter
from time import monotonic, time
from typing import Any

from observatory.errors import Forbidden, ObservatoryError, TooManyStreams, Unauthorized
from observatory.live.audience import Audience, Viewer
from observatory.live.connections import KINDS, Connection
from observatory.live.wire import Told
from observatory.log import log
from observatory.metrics import STREAM_EVENTS, STREAM_QUEUE, STREAM_RESYNCS, STREAMS
from observatory.store.database import (
    DatabaseError,
    Reading,
    close,
    connect,
    read_auth_revision,
    read_data_version,
)
from observatory.store.events import Batch, Bounds, make_bodies, read_bounds, read_events

# How often the database is asked whether anything changed, which costs some microseconds.
LOOK_SECONDS = 0.04
# So many events are read, and told, at once.
PIECE = 200
# So much of them waits for a client at once, on top of what waits already.
MAX_PART_BYTES = 1024 * 1024
# So long a turn may go on reading for those who are behind, each of whom may be elsewhere.
_CATCH_UP_SECONDS = 0.02
_LOOK_AFTER_SECONDS = 1.0
_RETRY_SECONDS = 1.0
# At the end clients have so long to take what they were sent.
FAREWELL_SECONDS = 2.0

LookAgain = Callable[[Viewer], Viewer]


class Hub:
    """The streams of one worker.

    Args:
        look_again: Returns somebody as they are now; raises ``Unauthorized`` or ``Forbidden`` when
            they may listen no more.
        max_streams: How many streams there may be; half of them for one and the same client.
    """

    def __init__(self, look_again: LookAgain, *, max_streams: int = 1000) -> None:
        self._look_again = look_again
        self._max_streams = max_streams
        self._starting = threading.Lock()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._owner = os.getpid()
        self._thread: threading.Thread | None = None
        self._coming: deque[tuple[Connection, socket.socket, bytes, bytes]] = deque()
        self._connections: set[Connection] = set()
        self._names: Counter[str] = Counter()
        # The last event that was looked at; none was since somebody listens.
        self._head: int | None = None
        # Who was not looked at yet.
        self._new: list[Connection] = []
        self._data_version = -1
        self._auth_revision = -1
        self._is_ending = False

    def check_room(self, viewer: Viewer, *, comes_again: bool = False) -> None:
        """Return quietly when there is room for one more stream.

        Args:
            viewer: Whose it is.
            comes_again: Whether the client comes again by itself when it is cut off, and not when
                it is refused: at the end of a worker it is let in, and cut off.

        Raises:
            TooManyStreams: There is none.
        """
        with self._starting:
            if self._owner != os.getpid():
                self._begin_anew()
            is_ending = self._is_ending and not comes_again
            if is_ending or self._names.total() >= self._max_streams:
                raise TooManyStreams
            if self._names[viewer.name] >= max(1, self._max_streams // 2):
                raise TooManyStreams

    def add(
        self, connection: Connection, sock: socket.socket, *, head: bytes, heard: bytes
    ) -> None:
        """Take over a socket, from whichever thread.

        Args:
            connection: What is to become of it.
            sock: It; nobody else may use it any more.
            head: What is sent first: status and headers.
            heard: What its client sent behind the request.
        """
        with self._starting:
            if self._is_ending or (self._thread is None and not self._start()):
                sock.close()
                return
            self._names[connection.viewer.name] += 1
            self._coming.append((connection, sock, head, heard))
            with suppress(OSError):
                self._waker.send(b"1")

    def _start(self) -> bool:
        """Start the thread; tell whether the system had what that takes."""
        with ExitStack() as made:
            try:
                # What counts streams is a file, which is opened here or not at all.
                for kind in KINDS:
                    STREAMS.labels(kind).inc(0)
                waker, woken = socket.socketpair()
                made.enter_context(waker)
                made.enter_context(woken)
                selector = made.enter_context(selectors.DefaultSelector())
                waker.setblocking(False)
                woken.setblocking(False)
                selector.register(woken, selectors.EVENT_READ)
                thread = threading.Thread(
                    target=self._run, args=(woken, selector), name="streams", daemon=True
                )
                thread.start()
            except (OSError, RuntimeError) as error:
                log.error("streams_not_started", reason=str(error))
                return False
            self._waker, self._thread = waker, thread
            made.pop_all()
        return True

    def end(self, *, wait_seconds: float = FAREWELL_SECONDS + 1.0) -> None:
        """Say goodbye to all clients; they may come again to another worker."""
        with self._starting:
            self._is_ending = True
            thread = self._thread
            if thread is not None:
                with suppress(OSError):
                    self._waker.send(b"1")
        if thread is not None:
            thread.join(wait_seconds)

    def begin_to_end(self) -> None:
        """Say goodbye without waiting for it."""
        self.end(wait_seconds=0)

    # Everything below runs in the hub's thread.

    def _run(self, woken: socket.socket, selector: selectors.BaseSelector) -> None:
        with woken, selector:
            self._selector = selector
            try:
                while not self._is_ending:
                    self._turn()
                    if self._retire():
                        return
                self._say_goodbye()
            except Exception as error:
                log.error("streams_failed", exc_info=error)
            finally:
                close()
            for connection in list(self._connections):
                connection.close()
            self._forget_closed()
            while not self._retire():
                connection, sock, *_ = self._coming.popleft()
                sock.close()
                self._forget_name(connection)

    def _retire(self) -> bool:
        """Tell whether this thread is to end: nobody listens. The next stream starts another."""
        with self._starting:
            if self._connections or self._coming:
                return False
            self._thread = None
            self._waker.close()
            STREAM_QUEUE.set(0)
            return True

    def _turn(self) -> None:
        """Wait for something to do, for as long as the database needs no look, and do it."""
        self._serve(LOOK_SECONDS if self._connections or self._coming else None)
        self._accept()
        try:
            connect()
            if self._connections:
                self._let_in_new()
                self._look()
                self._catch_up()
                self._look_after()
        except (DatabaseError, ObservatoryError) as error:
            log.warning("streams_wait", reason=str(error))
            self._serve(_RETRY_SECONDS)
        self._forget_closed()

    def _serve(self, timeout: float | None) -> None:
        """Read from and write to the sockets that are ready."""
        for key, mask in self._selector.select(timeout):
            if key.data is None:
                with suppress(BlockingIOError):
                    key.fileobj.recv(4096)  # type: ignore[union-attr]
            else:
                self._do(key.data, key.data.on_ready, mask)

    def _do(self, connection: Connection, action: Callable[..., Any], *args: Any) -> None:
        """Do something for one client; what goes wrong is nothing to the others."""
        try:
            action(*args)
        except Exception as error:
            log.error("stream_failed", kind=connection.kind, exc_info=error)
            connection.close()

    def _accept(self) -> None:
        """Take what comes, database or not: who waits for it may leave, and is not kept for it."""
        if not self._connections and self._coming:
            # Nobody listened, so nothing was looked at.
            self._head = None
            self._looked_after = 0.0
        while self._coming:
            connection, sock, head, heard = self._coming.popleft()
            self._do(connection, connection.open, sock, self._selector, head, heard)
            self._connections.add(connection)
            self._new.append(connection)
            STREAMS.labels(connection.kind).inc()

    def _let_in_new(self) -> None:
        """Look at who came: since they were let in they may have been shut out."""
        if self._head is None:
            head, self._auth_revision = read_bounds().latest, read_auth_revision()
            self._head, self._data_version = head, -1
        self._let_in_again(self._new)
        self._new.clear()

    def _forget_closed(self) -> None:
        for connection in [each for each in self._connections if each.is_closed]:
            self._connections.remove(connection)
            STREAMS.labels(connection.kind).dec()
            self._forget_name(connection)
        if self._new:
            self._new = [each for each in self._new if not each.is_closed]

    def _forget_name(self, connection: Connection) -> None:
        name = connection.viewer.name
        with self._starting:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]

    def _look(self) -> None:
        """Read what is new, once for all, and tell those who are not behind."""
        assert self._head is not None
        data_version = read_data_version()
        if data_version == self._data_version:
            return
        is_last = False
        while not is_last:
            current = [each for each in self._connections if not each.is_behind]
            told, batch = self._read(self._head, connections=current)
            self._head, is_last = batch.position, batch.is_last
            self._tell(told, current, position=self._head)
            if not is_last:
                self._serve(0)
        self._data_version = data_version

    def _read(
        self, after: int, *, connections: Collection[Connection], until: int = 2**63 - 1
    ) -> tuple[list[Told], Batch]:
        """Read the next events, and of those that any of some clients is to be told all they say.

        All of it is of one moment, as of which it is looked at who may listen still.
        """
        reading = Reading()
        try:
            if reading.auth_revision != self._auth_revision:
                self._let_in_again(self._connections)
                self._auth_revision = reading.auth_revision
            batch = read_events(after, limit=PIECE, until=until)
            audiences = {each.audience for each in connections if not each.is_closing}
            wanted = [
                event for event in batch.events if any(each.takes(event) for each in audiences)
            ]
            return list(map(Told, wanted, make_bodies(wanted))), batch
        finally:
            reading.close()

    def _tell(self, told: list[Told], connections: Iterable[Connection], *, position: int) -> None:
        """Send events to clients who are at one place; what is the same for several is made once.

        Many large ones are sent in parts, so that those who are slow get no more of them.
        """
        while told:
            size = number = 0
            while number < len(told) and size < MAX_PART_BYTES:
                size += len(told[number].body)
                number += 1
            part, told = told[:number], told[number:]
            end = part[-1].event.id if told else position
            self._tell_part(part, connections, position=end)
            connections = [each for each in connections if each.position == end]
        self._tell_part([], connections, position=position)

    def _tell_part(
        self, told: list[Told], connections: Iterable[Connection], *, position: int
    ) -> None:
        made: dict[tuple[str, Audience], tuple[bytes, int]] = {}
        for connection in connections:
            self._do(connection, self._tell_one, connection, told, position, made)

    def _tell_one(
        self,
        connection: Connection,
        told: list[Told],
        position: int,
        made: dict[tuple[str, Audience], tuple[bytes, int]],
    ) -> None:
        if connection.is_closing:
            return
        key = (connection.kind, connection.audience)
        if key not in made:
            pieces = [
                connection.encode(each) for each in told if connection.audience.takes(each.event)
            ]
            made[key] = b"".join(pieces), len(pieces)
        data, number = made[key]
        was_behind = connection.is_behind
        if connection.tell(data, position=position):
            if number:
                STREAM_EVENTS.labels(connection.kind).inc(number)
        elif not was_behind:
            STREAM_RESYNCS.inc()

    def _catch_up(self) -> None:
        """Tell those who are behind and ready for more the next piece of what they missed."""
        late = [each for each in self._connections if each.can_catch_up]
        if not late:
            return
        bounds = read_bounds()
        places: dict[int, list[Connection]] = {}
        # Who was told longest ago comes first: a turn may not have the time for all.
        for connection in sorted(late, key=attrgetter("caught_up_at")):
            self._do(connection, self._begin_to_catch_up, connection, bounds)
            places.setdefault(connection.position, []).append(connection)
        until = monotonic() + _CATCH_UP_SECONDS
        for place, connections in places.items():
            told, position = self._next_piece(place, connections)
            self._tell(told, connections, position=position)
            moment = monotonic()
            for connection in connections:
                connection.caught_up_at = moment
                # One that knows of more than this thread waits until that has seen it, too.
                if connection.position == self._head:
                    connection.is_behind = False
            if moment >= until:
                return

    def _begin_to_catch_up(self, connection: Connection, bounds: Bounds) -> None:
        """Tell a client whether what it missed can not be had any more, or never was here."""
        connection.begin_catching_up()
        if bounds.has_gap_after(connection.position):
            is_old = connection.position < bounds.oldest
            connection.position = bounds.oldest - 1 if is_old else bounds.latest
            reason = "expired" if is_old else "unknown"
            connection.notify({"type": "resync", "reason": reason, "after": connection.position})

    def _next_piece(
        self, place: int, connections: Collection[Connection]
    ) -> tuple[list[Told], int]:
        """Return the next events behind a place, and the position behind those."""
        assert self._head is not None
        if place >= self._head:
            return [], place
        told, batch = self._read(place, connections=connections, until=self._head)
        return told, self._head if batch.is_last else batch.position

    def _look_after(self) -> None:
        moment = monotonic()
        if moment - self._looked_after < _LOOK_AFTER_SECONDS:
            return
        self._looked_after = moment
        today = time()
        self._let_in_again([each for each in self._connections if each.viewer.expires_at <= today])
        for connection in list(self._connections):
            self._do(connection, connection.look_after, moment)
        STREAM_QUEUE.set(sum(connection.waiting_bytes for connection in self._connections))

    def _let_in_again(self, connections: Iterable[Connection]) -> None:
        """Look whether clients may listen still, and to what."""
        known: dict[Viewer, Viewer | ObservatoryError] = {}
        for connection in connections:
            viewer = connection.viewer
            if viewer not in known:
                try:
                    known[viewer] = self._look_again(viewer)
                except (Unauthorized, Forbidden) as error:
                    known[viewer] = error
            now = known[viewer]
            if isinstance(now, ObservatoryError):
                self._refuse(connection, now)
            else:
                connection.viewer = now
                connection.audience = connection.audience.seen_with(now.scope)

    def _refuse(self, connection: Connection, error: ObservatoryError) -> None:
        code = "FORBIDDEN" if isinstance(error, Forbidden) else "UNAUTHORIZED"
        notice = {"type": "error", "code": code, "error": str(error)}
        self._do(connection, connection.end, notice)

    def _say_goodbye(self) -> None:
        self._accept()
        with suppress(DatabaseError, ObservatoryError):
            connect()
            self._let_in_new()
            self._look()
        for connection in list(self._connections):
            self._do(connection, connection.end, {"type": "server_shutdown"})
        until = monotonic() + FAREWELL_SECONDS
        while monotonic() < until:
            self._forget_closed()
            if not self._connections:
                return
            self._serve(max(0.0, until - monotonic()))
