"""What an admin is told of the server."""

from __future__ import annotations

from marshmallow import Schema, fields

from observatory.api.event_schemas import WatcherState
from observatory.api.schemas import Count, Flag, Time


class DatabaseState(Schema):
    """The database: its files, and how much room they have.

    ``schema`` is its last migration. ``disk_free_bytes`` is what this user may still write.
    """

    schema = fields.String(required=True, allow_none=True)
    size_bytes = Count(required=True)
    wal_bytes = Count(required=True)
    page_size = Count(required=True)
    free_pages = Count(required=True)
    disk_free_bytes = Count(required=True)
    disk_total_bytes = Count(required=True)


class Counts(Schema):
    """How much there is of what, in the trash and hidden from some as well."""

    conversations = Count(required=True)
    trashed_conversations = Count(required=True)
    messages = Count(required=True)
    tool_uses = Count(required=True)
    files = Count(required=True)
    events = Count(required=True)
    deliveries = Count(required=True)
    audit_entries = Count(required=True)


class IngestState(Schema):
    """What was read, and what waits.

    ``last_read_at`` is when a file was read last. ``are_sums_built`` and ``are_prices_applied`` are
    false while reports lack something.
    """

    last_read_at = Time(required=True, allow_none=True)
    waiting_messages = Count(required=True)
    search_segments = Count(required=True)
    are_sums_built = Flag(required=True)
    are_prices_applied = Flag(required=True)


class HeldLock(Schema):
    """A kind of work that a process does now, so that no other one can."""

    name = fields.String(required=True)
    holder = fields.String(required=True)


class MaintenanceRun(Schema):
    """How one kind of upkeep went the last time, and when it may have something to do again."""

    name = fields.String(required=True)
    last_run_at = Time(required=True)
    duration_ms = Count(required=True)
    result = fields.String(required=True)
    is_good = Flag(required=True)
    next_at = Time(required=True, allow_none=True)


class AdminStatus(Schema):
    """How the server and its database are; ``settings`` are by variable, and have no secrets."""

    version = fields.String(required=True)
    started_at = Time(required=True)
    uptime_seconds = Count(required=True)
    database = fields.Nested(DatabaseState, required=True)
    counts = fields.Nested(Counts, required=True)
    ingest = fields.Nested(IngestState, required=True)
    watcher = fields.Nested(WatcherState, required=True)
    locks = fields.List(fields.Nested(HeldLock), required=True)
    maintenance = fields.List(fields.Nested(MaintenanceRun), required=True)
    settings = fields.Dict(required=True)
