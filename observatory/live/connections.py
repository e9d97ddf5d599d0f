"""Open streams: a socket each, and what waits to be sent on it. All of it for one thread."""

from __future__ import annotations

import selectors
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import orjson
from wsproto.connection import Connection as Framing
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from observatory.live.audience import Audience, Viewer
from observatory.live.wire import Told, beat_sse, begin_sse, notice_sse, text_frame
from observatory.store.events import EventFilter
from observatory.store.scopes import Scope

# So much may wait for one slow client; then it is told less until it has taken that.
MAX_WAITING_BYTES = 256 * 1024
# A client that takes nothing for so long is gone.
STALLED_SECONDS = 60.0
HEARTBEAT_SECONDS = 15.0
# A WebSocket's client answers pings; one that does not in this time is gone.
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS
# Some clients pass over what comes together with the answer to their handshake.
_HANDSHAKE_SECONDS = 0.02
MAX_SUBSCRIPTIONS = 20
MAX_MESSAGE_BYTES = 64 * 1024
# A client is heard for so many bytes a second, and then no more of it until the next.
HEARD_BYTES = 32 * 1024
# So many at once, that others come in between.
_RECEIVE_BYTES = 4 * 1024


KINDS = ("sse", "websocket", "poll")


class Connection(ABC):
    """One client of the hub.

    Attributes:
        position: All events up to this id were sent, wait to be sent, or are not for it.
        is_behind: Whether it was told less than happened, and is to be told the rest.
        caught_up_at: When it was told some of the rest, by ``monotonic``.
    """

    kind: str

    def __init__(self, viewer: Viewer, audience: Audience, *, position: int) -> None:
        self.viewer = viewer
        self.audience = audience
        self.position = position
        self.is_behind = True
        self.caught_up_at = 0.0
        self.is_closing = False
        self.is_closed = False
        self._socket: socket.socket
        self._selector: selectors.BaseSelector
        self._waiting: deque[memoryview] = deque()
        self.waiting_bytes = 0
        self._watched = 0
        self._may_hear = HEARD_BYTES
        self._was_slow = False
        self._sent_at = self._heard_at = self._taken_at = monotonic()

    def open(
        self, sock: socket.socket, selector: selectors.BaseSelector, head: bytes, heard: bytes
    ) -> None:
        """Take over a socket: send the head of the answer, and hear what came already."""
        self._socket, self._selector = sock, selector
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._watch()
        self._send(self._begin(head))
        if heard:
            self._hear(heard)

    def _begin(self, head: bytes) -> bytes:
        """Return what is sent first: the head of the answer, and what stands behind it."""
        return head

    @abstractmethod
    def _notice(self, notice: dict[str, Any]) -> bytes:
        """Return something of the stream itself as it is sent."""

    @abstractmethod
    def encode(self, told: Told) -> bytes:
        """Return an event as it is sent."""

    @abstractmethod
    def _beat(self) -> bytes:
        """Return what keeps a quiet connection open."""

    def _end(self) -> bytes:
        """Return what is sent last."""
        return b""

    def _hear(self, data: bytes) -> None:  # noqa: B027
        """Take what the client sent; most kinds pass over it."""

    def tell(self, data: bytes, *, position: int) -> bool:
        """Send what is for this client of the events up to a position.

        Returns:
            Whether it did; else the client is behind, for it does not take what it was sent.
        """
        if data and self.waiting_bytes > MAX_WAITING_BYTES:
            if not self.is_behind:
                self.is_behind = self._was_slow = True
            return False
        self.position = position
        if data:
            self._send(data)
        return True

    @property
    def can_catch_up(self) -> bool:
        """Whether it is behind and has taken what it was sent."""
        return self.is_behind and not self.waiting_bytes and not self.is_closing

    def begin_catching_up(self) -> None:
        """Tell a client once that it was too slow, before it is told the rest."""
        if self._was_slow:
            self._was_slow = False
            self.notify({"type": "resync", "reason": "slow", "after": self.position})

    def notify(self, notice: dict[str, Any]) -> None:
        """Send something of the stream itself."""
        self._send(self._notice(notice))

    def end(self, notice: dict[str, Any] | None = None) -> None:
        """Send a last notice and close once it is taken."""
        if self.is_closing:
            return
        last = self._notice(notice) if notice is not None else b""
        self._send(last + self._end())
        self.is_closing = True
        if not self.waiting_bytes:
            self.close()

    def close(self) -> None:
        """Leave the client at once."""
        if not self.is_closed:
            self.is_closed = self.is_closing = True
            if self._watched:
                with suppress(KeyError, ValueError, OSError):
                    self._selector.unregister(self._socket)
            self._socket.close()
            self._waiting.clear()
            self.waiting_bytes = 0

    def look_after(self, moment: float) -> None:
        """Keep a quiet connection open; leave a client that is gone.

        It comes once a second, and so does what may be heard.
        """
        if not self.is_closed:
            self._may_hear = HEARD_BYTES
            self._watch()
        if self.waiting_bytes and moment - self._taken_at > STALLED_SECONDS:
            self.close()
        elif not self.is_closing and moment - self._sent_at >= HEARTBEAT_SECONDS:
            self._send(self._beat())

    def on_ready(self, mask: int) -> None:
        """Read and write what there is."""
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and not self.is_closed:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._heard_at = monotonic()
            self._may_hear -= len(data)
            if not self.is_closing:
                self._hear(data)
            if not self.is_closed:
                self._watch()

    def _send(self, data: bytes) -> None:
        if self.is_closing or not data:
            return
        self._sent_at = monotonic()
        if not self._waiting:
            self._taken_at = self._sent_at
        self._waiting.append(memoryview(data))
        self.waiting_bytes += len(data)
        if not self._watched & selectors.EVENT_WRITE:
            self._flush()

    def _flush(self) -> None:
        """Send what the system takes, and wait until it takes more."""
        try:
            while self._waiting:
                sent = self._socket.send(self._waiting[0])
                self._taken_at = monotonic()
                self.waiting_bytes -= sent
                if sent < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][sent:]
                    break
                self._waiting.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        if self.is_closing and not self._waiting:
            self.close()
            return
        self._watch()

    def _watch(self) -> None:
        """Wait for what the client sends, unless that is too much, and for it to take more."""
        wanted = selectors.EVENT_READ if self._may_hear > 0 else 0
        if self._waiting:
            wanted |= selectors.EVENT_WRITE
        if wanted == self._watched:
            return
        if not self._watched:
            self._selector.register(self._socket, wanted, self)
        elif not wanted:
            self._selector.unregister(self._socket)
        else:
            self._selector.modify(self._socket, wanted, self)
        self._watched = wanted


class SseConnection(Connection):
    """A stream of Server-Sent Events; what its client sends is passed over.

    Args:
        viewer: Who listens.
        audience: To what.
        position: Behind which event.
        until: When it ends, by ``monotonic``, once all that happened was told.
    """

    kind = "sse"

    def __init__(
        self, viewer: Viewer, audience: Audience, *, position: int, until: float = float("inf")
    ) -> None:
        super().__init__(viewer, audience, position=position)
        self._until = until

    def look_after(self, moment: float) -> None:
        """End it when the time is over."""
        super().look_after(moment)
        if moment >= self._until and not self.is_behind:
            self.end()

    def _begin(self, head: bytes) -> bytes:
        return head + begin_sse(self.position)

    def _notice(self, notice: dict[str, Any]) -> bytes:
        return notice_sse(notice)

    def encode(self, told: Told) -> bytes:
        """Return an event as it is sent."""
        return told.sse

    def _beat(self) -> bytes:
        return beat_sse(self.position)


class PollConnection(Connection):
    """A question whose answer waits for an event; it has one answer and ends.

    Args:
        viewer: Who asks.
        audience: What would be an answer.
        position: Behind which event.
        make_answer: Returns the body for who asks, as they and things are when it is called.
        until: When there is an answer in any case, by ``monotonic``.
    """

    kind = "poll"

    def __init__(
        self,
        viewer: Viewer,
        audience: Audience,
        *,
        position: int,
        make_answer: Callable[[Scope], bytes],
        until: float,
    ) -> None:
        super().__init__(viewer, audience, position=position)
        self._make_answer = make_answer
        self._until = until

    def _begin(self, head: bytes) -> bytes:
        # Without an answer there is no head either: else it would look like an empty one.
        self._head = head
        return b""

    def _notice(self, notice: dict[str, Any]) -> bytes:
        return b""

    def _end(self) -> bytes:
        return self._head + self._make_answer(self.audience.scope)

    def encode(self, told: Told) -> bytes:
        """Return something for each event: that there is one is enough."""
        return b"1"

    def tell(self, data: bytes, *, position: int) -> bool:
        """Answer if there is anything for this client."""
        self.position = position
        if data:
            self.end()
        return True

    def _beat(self) -> bytes:
        return b""

    def end(self, notice: dict[str, Any] | None = None) -> None:
        """Answer and close; who may not ask any more gets no answer."""
        if notice is not None and notice["type"] == "error":
            self.close()
        else:
            super().end()

    def look_after(self, moment: float) -> None:
        """Answer when the time is over."""
        super().look_after(moment)
        if not self.is_closing and moment >= self._until:
            self.end()


ReadFilters = Callable[[Any], EventFilter | dict[str, Any]]


class WebSocketConnection(Connection):
    """A WebSocket: events go out as they are, subscriptions come in.

    Args:
        viewer: Who listens.
        audience: What they want at first.
        position: Behind which event.
        read_filters: Returns what the ``filters`` of a subscription want, or else what is wrong
            with them by field.
        name: The id of the connection.
    """

    kind = "websocket"

    def __init__(
        self,
        viewer: Viewer,
        audience: Audience,
        *,
        position: int,
        read_filters: ReadFilters,
        name: str,
    ) -> None:
        super().__init__(viewer, audience, position=position)
        self._read_filters = read_filters
        self._name = name
        self._framing = Framing(ConnectionType.SERVER)
        self._subscriptions: dict[str, EventFilter] = {}
        self._message: list[str] = []
        self._message_length = 0
        self._pinged_at = monotonic()
        self._is_established = False
        self._actions = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": self._ping,
        }

    @property
    def can_catch_up(self) -> bool:
        """Whether it is behind and has taken what it was sent, the answer to its request too."""
        return super().can_catch_up and (
            self._is_established or monotonic() - self._pinged_at > _HANDSHAKE_SECONDS
        )

    def begin_catching_up(self) -> None:
        """Say that the connection stands, once it does."""
        self._establish()
        super().begin_catching_up()

    def _establish(self) -> None:
        if not self._is_established:
            self._is_established = True
            notice = {"type": "connection_established", "connection_id": self._name}
            self.notify({**notice, "position": self.position})

    def _notice(self, notice: dict[str, Any]) -> bytes:
        return text_frame(orjson.dumps(notice))

    def encode(self, told: Told) -> bytes:
        """Return an event as it is sent."""
        return told.frame

    def _beat(self) -> bytes:
        return bytes(self._framing.send(Ping(b"")))

    def _end(self) -> bytes:
        return bytes(self._framing.send(CloseConnection(CloseReason.GOING_AWAY)))

    def look_after(self, moment: float) -> None:
        """Leave a client that answers no pings, which it gets whatever else it is sent."""
        if moment - self._heard_at > SILENT_SECONDS:
            self.close()
            return
        if moment - self._pinged_at >= HEARTBEAT_SECONDS:
            self._pinged_at = moment
            self._send(self._beat())
        super().look_after(moment)

    def _hear(self, data: bytes) -> None:
        try:
            self._framing.receive_data(data)
            for event in self._framing.events():
                self._take(event)
                if self.is_closing:
                    return
        except RemoteProtocolError:
            self._leave(CloseReason.PROTOCOL_ERROR)

    def _take(self, event: Any) -> None:
        if isinstance(event, Ping):
            # Who takes no answers gets none.
            if self.waiting_bytes <= MAX_WAITING_BYTES:
                self._send(bytes(self._framing.send(event.response())))
        elif isinstance(event, CloseConnection):
            self._send(bytes(self._framing.send(event.response())))
            self.is_closing = True
            if not self.waiting_bytes:
                self.close()
        elif isinstance(event, BytesMessage):
            self._leave(CloseReason.UNSUPPORTED_DATA)
        elif isinstance(event, TextMessage):
            if event.data:
                self._message.append(event.data)
                self._message_length += len(event.data)
            if self._message_length > MAX_MESSAGE_BYTES:
                self._leave(CloseReason.MESSAGE_TOO_BIG)
            elif event.message_finished:
                text = "".join(self._message)
                self._message.clear()
                self._message_length = 0
                self._answer(text)
        else:
            assert isinstance(event, Pong)

    def _leave(self, reason: CloseReason) -> None:
        with suppress(LocalProtocolError):
            self._send(bytes(self._framing.send(CloseConnection(reason))))
        self.is_closing = True
        if not self.waiting_bytes:
            self.close()

    def _answer(self, text: str) -> None:
        if self.waiting_bytes > MAX_WAITING_BYTES:
            # Who sends and takes nothing.
            self._leave(CloseReason.POLICY_VIOLATION)
            return
        # Who sends has taken the answer to its handshake.
        self._establish()
        try:
            message = orjson.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._refuse("A message is a JSON object with a type.")
            return
        name = message.pop("type", None)
        action = self._actions.get(name) if isinstance(name, str) else None
        if action is None:
            self._refuse("The type of a message is subscribe, unsubscribe or ping.")
            return
        action(message)

    def _refuse(self, message: str, **fields: Any) -> None:
        self.notify(
            {
                "type": "error",
                "code": "VALIDATION_ERROR",
                "error": message,
                "details": {"fields": fields},
            }
        )

    def _ping(self, message: dict[str, Any]) -> None:
        self.notify({"type": "pong"})

    def _subscribe(self, message: dict[str, Any]) -> None:
        name = message.pop("id", "default")
        if not isinstance(name, str) or not 0 < len(name) <= 100:
            self._refuse("The id of a subscription has 1 to 100 characters.")
            return
        after = message.pop("after", None)
        if after is not None and (type(after) is not int or not 0 <= after < 2**63):
            self._refuse("after takes the id of an event.")
            return
        if after is not None and self._subscriptions:
            self._refuse("after is for the first subscription only; open another connection.")
            return
        filters = message.pop("filters", {})
        if message:
            self._refuse("A subscription takes id, filters and after.")
            return
        wanted = self._read_filters(filters)
        if not isinstance(wanted, EventFilter):
            self._refuse("The filters can not be used.", **wanted)
            return
        if name not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            self._refuse(f"There are {MAX_SUBSCRIPTIONS} subscriptions already; end one.")
            return
        self._subscriptions[name] = wanted
        self._listen()
        if after is not None:
            self.position = after
            self.is_behind = True
        self.notify({"type": "subscription_confirmed", "id": name, "position": self.position})

    def _unsubscribe(self, message: dict[str, Any]) -> None:
        name = message.get("id", "default")
        if not isinstance(name, str) or name not in self._subscriptions:
            self._refuse("There is no such subscription.")
            return
        del self._subscriptions[name]
        self._listen()
        self.notify({"type": "unsubscribed", "id": name, "position": self.position})

    def _listen(self) -> None:
        # Twice the same is once.
        wanted = tuple(dict.fromkeys(self._subscriptions.values()))
        self.audience = self.audience.listening_to(wanted)
