"""Events: what changed, as pages, as streams, and as they come."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Any

import falcon
from marshmallow import ValidationError
from orjson import Fragment

from observatory.accounts.credentials import hash_secret, make_one_time_token
from observatory.accounts.permissions import READ
from observatory.api.answers import JSON, answer, make_answer
from observatory.api.auth import Authenticator, Identity, identity_of, scope_of
from observatory.api.event_schemas import (
    EventParams,
    StreamParams,
    Subscription,
    WebSocketParams,
)
from observatory.api.params import NoParams, read_params
from observatory.errors import Forbidden, InvalidParameter
from observatory.live.audience import Audience, Viewer
from observatory.live.connections import PollConnection, SseConnection, WebSocketConnection
from observatory.live.handing_over import (
    CAN_HAND_OVER,
    DEFAULT_STREAM_SECONDS,
    STREAM_SECONDS,
    UPGRADED,
    Stream,
)
from observatory.live.hub import Hub
from observatory.live.wire import accept_key
from observatory.store.events import (
    EventFilter,
    Page,
    find_newest,
    list_events,
    read_bounds,
)
from observatory.store.scopes import Scope
from observatory.store.stream_tickets import TicketHolder, insert_ticket
from observatory.timestamps import timestamp_in

TICKET_SECONDS = 30
SSE = "text/event-stream"


def look_again(auth: Authenticator, viewer: Viewer) -> Identity:
    """Return who listens to a stream as they are now.

    Raises:
        Unauthorized: Their credentials do not hold any more.
        Forbidden: They may not read any more.
    """
    assert isinstance(viewer, Identity)
    identity = auth.look_again(viewer)
    if READ not in identity.permissions:
        raise Forbidden("You may not read any more.")
    return identity


def _list(after: int, *, limit: int, scope: Scope, wanted: EventFilter) -> dict[str, Any]:
    """Return the answer that tells of the events behind an id."""
    bounds = read_bounds()
    if bounds.has_gap_after(after):
        # Behind the gap, also when nothing is there: else the next question has it again.
        page = list_events(bounds.oldest - 1, limit=limit, scope=scope, wanted=wanted)
        if after > bounds.latest:
            # It is of another archive, and nothing tells how far that was.
            page = Page([], bounds.latest, has_more=False)
    else:
        page = list_events(after, limit=limit, scope=scope, wanted=wanted)
    return {
        "events": [Fragment(body) for body in page.bodies],
        "next_after": page.position,
        "oldest_id": bounds.oldest,
        "latest_id": bounds.latest,
        "has_more": page.has_more,
        "has_gap": bounds.has_gap_after(after),
    }


class Events:
    """``/api/events``: the newest, or those behind an id; with ``wait`` once there are any."""

    is_cached = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with events, the oldest first."""
        params = read_params(req, EventParams)
        wanted, limit, scope = params["wanted"], params["limit"], scope_of(req)
        after = params["after"]
        if after is None:
            after = find_newest(limit, scope=scope, wanted=wanted)
        found = _list(after, limit=limit, scope=scope, wanted=wanted)
        is_answer = found["events"] or found["has_more"] or found["has_gap"]
        if is_answer or not params["wait"] or getattr(req.context, "is_head", False):
            answer(req, resp, found)
            return
        identity = identity_of(req)
        self._hub.check_room(identity)
        position, request_id = found["next_after"], req.context.request_id

        def make_late_answer(scope: Scope) -> bytes:
            later = _list(position, limit=limit, scope=scope, wanted=wanted)
            return make_answer(later, request_id)

        resp.content_type = JSON
        resp.stream = Stream(
            self._hub,
            PollConnection(
                identity,
                Audience(scope, (wanted,)),
                position=position,
                make_answer=make_late_answer,
                until=monotonic() + params["wait"],
            ),
        )


class EventStream:
    """``/api/events/stream``: Server-Sent Events, behind an id or from now on."""

    is_cached = False
    is_snapshot = False
    is_timed = False
    takes_tickets = True

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with events as they come."""
        params = read_params(req, StreamParams)
        identity = identity_of(req)
        # Browsers come again when they are cut off, and not when they are refused.
        self._hub.check_room(identity, comes_again=True)
        position = params["after"]
        given = req.env.get("HTTP_LAST_EVENT_ID")
        if given:
            # A browser that comes again asks for the same address, with an older place in it.
            position = _read_id(given)
        if position is None:
            position = read_bounds().latest
        resp.content_type = f"{SSE}; charset=utf-8"
        # nginx would keep events until it has a bufferful.
        resp.set_header("X-Accel-Buffering", "no")
        audience = Audience(identity.scope, (params["wanted"],))
        until = float("inf")
        if not req.env.get(CAN_HAND_OVER):
            until = monotonic() + req.env.get(STREAM_SECONDS, DEFAULT_STREAM_SECONDS)
        connection = SseConnection(identity, audience, position=position, until=until)
        resp.stream = Stream(self._hub, connection)


def _read_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidParameter("Last-Event-ID", "Takes the id of an event.")
    return int(text)


class WebSocket:
    """``/ws``: the same events on a WebSocket, by subscriptions."""

    is_cached = False
    is_timed = False
    takes_tickets = True

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Become a WebSocket."""
        read_params(req, WebSocketParams)
        identity = identity_of(req)
        env = req.env
        is_asked = (
            "websocket" in env.get("HTTP_UPGRADE", "").lower()
            and "upgrade" in env.get("HTTP_CONNECTION", "").lower()
            and not getattr(req.context, "is_head", False)
        )
        if not is_asked or env.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
            headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            raise falcon.HTTPError(falcon.HTTP_426, headers=headers)
        accepted = accept_key(env.get("HTTP_SEC_WEBSOCKET_KEY", ""))
        if accepted is None:
            raise InvalidParameter("Sec-WebSocket-Key", "Takes 16 bytes in base64.")
        if not env.get(CAN_HAND_OVER):
            raise falcon.HTTPError(falcon.HTTP_501)
        self._hub.check_room(identity)
        resp.status = falcon.HTTP_101
        resp.set_headers(
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Accept": accepted,
            }
        )
        connection = WebSocketConnection(
            identity,
            Audience(identity.scope, ()),
            position=read_bounds().latest,
            read_filters=_read_filters,
            name=req.context.request_id,
        )
        # Falcon lets an answer of this status have no body.
        env[UPGRADED] = Stream(self._hub, connection)


def _read_filters(value: Any) -> EventFilter | dict[str, Any]:
    """Return what the filters of a subscription want, or what is wrong with them."""
    if not isinstance(value, dict):
        return {"filters": ["Takes an object."]}
    try:
        wanted: EventFilter = Subscription().load(value)
    except ValidationError as error:
        wrong: dict[str, Any] = error.normalized_messages()
        return wrong
    return wanted


class StreamTickets:
    """``/api/events/tickets``: for who can not send headers, and whose address may be logged."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a ticket, which opens one stream within half a minute."""
        read_params(req, NoParams)
        identity = identity_of(req)
        ticket = make_one_time_token()
        expires_at = timestamp_in(TICKET_SECONDS)
        holder = TicketHolder(
            identity.session_key if identity.key_key is None else None, identity.key_key
        )
        insert_ticket(hash_secret(ticket), holder, expires_at=expires_at)
        resp.status = falcon.HTTP_201
        answer(req, resp, {"ticket": ticket, "expires_at": expires_at})


def make_hub(auth: Authenticator, *, max_streams: int) -> Hub:
    """Return the hub of a worker, which asks again who may listen."""
    return Hub(partial(look_again, auth), max_streams=max_streams)
