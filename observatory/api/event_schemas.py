"""What events look like, and what may be asked of them."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from observatory.api.params import NoParams, Text, WholeNumber
from observatory.api.schemas import ROLES, Count, Flag, Time
from observatory.store.event_notes import TYPES
from observatory.store.events import EventFilter

# Proxies leave an answer that does not begin within a minute.
MAX_WAIT_SECONDS = 50
_MAX_ID = 2**53


class EventTypes(fields.Field[frozenset[str]]):
    """A comma list of types of events."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"description": f"Comma list of: {', '.join(TYPES)}."}, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> frozenset[str]:
        given = value.split(",") if isinstance(value, str) else []
        if not given or not set(given) <= set(TYPES):
            raise ValidationError(f"Takes a comma list of: {', '.join(TYPES)}.")
        return frozenset(given)


class _Filters(Schema):
    """Which events are wanted."""

    project_path = Text(load_default=None, validate=validate.Length(1, 4096))
    conversation_id = Text(load_default=None, validate=validate.Length(1, 500))
    role = Text(load_default=None, validate=validate.OneOf(ROLES))
    tool = Text(load_default=None, validate=validate.Length(1, 200))


def _take_filter(data: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with those of the filter as one."""
    names = ("types", "project_path", "conversation_id", "role", "tool")
    given = {name: data.pop(name) for name in names}
    return {**data, "wanted": EventFilter(**{**given, "types": given["types"] or frozenset()})}


class _EventParams(_Filters):
    types = EventTypes(load_default=None)
    after = WholeNumber(load_default=None, validate=validate.Range(0, _MAX_ID))

    @post_load
    def shape(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the parameters with what is wanted as one of them."""
        return _take_filter(data)


class EventParams(_EventParams):
    """Which events, and how long to wait for the first of them, in seconds."""

    limit = WholeNumber(load_default=100, validate=validate.Range(1, 500))
    wait = WholeNumber(load_default=0, validate=validate.Range(0, MAX_WAIT_SECONDS))


class StreamParams(_EventParams):
    """Which events a stream tells; behind ``after``, or else ``Last-Event-ID``, or from now on."""

    ticket = Text(load_default=None, validate=validate.Length(1, 200))


class WebSocketParams(NoParams):
    """What lets somebody in who can not send headers."""

    ticket = Text(load_default=None, validate=validate.Length(1, 200))


class Subscription(_Filters):
    """The ``filters`` of a subscription on a WebSocket."""

    types = fields.List(
        Text(validate=validate.OneOf(TYPES)),
        load_default=None,
        validate=validate.Length(1, len(TYPES)),
    )

    @post_load
    def shape(self, data: dict[str, Any], **kwargs: Any) -> EventFilter:
        """Return what is wanted."""
        if data["types"] is not None:
            data["types"] = frozenset(data["types"])
        wanted: EventFilter = _take_filter(data)["wanted"]
        return wanted


class Event(Schema):
    """Something that changed; what ``data`` holds depends on the type."""

    id = Count(required=True)
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    created_at = Time(required=True)
    conversation_id = fields.String(required=True, allow_none=True)
    project_path = fields.String(required=True, allow_none=True)
    data = fields.Dict(required=True)


class EventList(Schema):
    """Events, the oldest first, and where to go on.

    ``next_after`` is the next question's ``after``; ``has_more`` tells that there may be more at
    once, ``has_gap`` that events behind ``after`` are not kept any more.
    """

    events = fields.List(fields.Nested(Event), required=True)
    next_after = Count(required=True)
    oldest_id = Count(required=True)
    latest_id = Count(required=True)
    has_more = Flag(required=True)
    has_gap = Flag(required=True)


class Ticket(Schema):
    """What opens one stream as ``?ticket=``, once."""

    ticket = fields.String(required=True)
    expires_at = Time(required=True)


class OpenStreams(Schema):
    """How many streams are open, over all workers."""

    sse = Count(required=True)
    websocket = Count(required=True)
    poll = Count(required=True)


class StreamStatus(Schema):
    """What streams there are, and what was sent on them since the server started."""

    open = fields.Nested(OpenStreams, required=True)
    max_per_worker = Count(required=True)
    queue_bytes = Count(required=True)
    events_sent = Count(required=True)
    resyncs = Count(required=True)


class EventStatus(Schema):
    """Which events are kept."""

    oldest_id = Count(required=True)
    latest_id = Count(required=True)


class FollowedFolder(Schema):
    """A folder of transcripts; ``mode`` is how changes in it are noticed."""

    path = fields.String(required=True)
    mode = fields.String(required=True, validate=validate.OneOf(("events", "polling", "missing")))
    files = Count(required=True)


class WatcherState(Schema):
    """What the watcher does, or did last: ``stopped`` when there is none.

    ``lag_seconds`` is for how long the last change waits to be read, 0 when none does.
    """

    state = fields.String(
        required=True, validate=validate.OneOf(("catching_up", "running", "stopped"))
    )
    pid = Count(required=True, allow_none=True)
    host = fields.String(required=True, allow_none=True)
    started_at = Time(required=True, allow_none=True)
    folders = fields.List(fields.Nested(FollowedFolder), required=True)
    files = Count(required=True)
    last_change_at = Time(required=True, allow_none=True)
    last_read_at = Time(required=True, allow_none=True)
    waiting_files = Count(required=True)
    waiting_bytes = Count(required=True)
    lag_seconds = fields.Float(required=True)
    last_failure = fields.String(required=True, allow_none=True)
    last_failure_at = Time(required=True, allow_none=True)


class LiveStatus(Schema):
    """How what happens now comes from transcripts to streams."""

    watcher = fields.Nested(WatcherState, required=True)
    streams = fields.Nested(StreamStatus, required=True)
    events = fields.Nested(EventStatus, required=True)
    live_conversations = Count(required=True)
