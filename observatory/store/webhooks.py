"""Webhooks as they are stored: addresses that are told of events, and for whom they exist."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from observatory.errors import Conflict, Forbidden, NotFound
from observatory.store.database import execute, execute_many, fetch_all, fetch_one, writing
from observatory.store.events import EventFilter, read_bounds
from observatory.store.pages import Page
from observatory.store.scopes import WHOLE, Scope
from observatory.timestamps import now

MAX_WEBHOOKS = 100
FILTERS = ("project_path", "conversation_id", "role", "tool")


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook; its id in the API is its key here.

    Attributes:
        wanted: Which events it is told of.
        scope: What is there for it: what was there for who made it.
        secret: What signs; it leaves only in the answer that says it for the first time.
        position: The id of the last event that was looked at for it.
        dead_in_a_row: How many deliveries were given up since the last that came through.
        switched_off: Why it is not active, unless somebody said so: ``gone`` or ``failing``.
        missed_events_at: When events were found to be deleted before they were looked at.
        pending: How many deliveries wait; 0 where that was not counted.
    """

    key: int
    url: str
    description: str
    wanted: EventFilter
    secret: str = field(repr=False)
    is_active: bool
    scope: Scope
    created_at: str
    updated_at: str
    position: int
    dead_in_a_row: int
    switched_off: str | None
    switched_off_at: str | None
    last_delivered_at: str | None
    missed_events_at: str | None
    pending: int

    def document(self) -> dict[str, Any]:
        """Return the webhook as the API shows it: without the secret."""
        only = self.scope.only
        return {
            "id": self.key,
            "url": self.url,
            "description": self.description,
            "events": sorted(self.wanted.types),
            "filters": {name: getattr(self.wanted, name) for name in FILTERS},
            "project_ids": None if only is None else sorted(only),
            "is_active": self.is_active,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "state": {
                "switched_off": self.switched_off,
                "switched_off_at": self.switched_off_at,
                "dead_in_a_row": self.dead_in_a_row,
                "pending_deliveries": self.pending,
                "last_delivered_at": self.last_delivered_at,
                "missed_events_at": self.missed_events_at,
            },
        }


_COLUMNS = """
    w.key, w.url, w.description, w.events, w.project_path, w.conversation_id, w.role, w.tool,
    w.secret, w.is_active, w.is_limited,
    (SELECT json_group_array(p.project_key) FROM webhook_projects p WHERE p.webhook_key = w.key),
    w.created_at, w.updated_at, w.position, w.dead_in_a_row, w.switched_off, w.switched_off_at,
    w.last_delivered_at, w.missed_events_at
"""
_PENDING = """
    (SELECT count(*) FROM webhook_deliveries d INDEXED BY webhook_deliveries_in_order
     WHERE d.webhook_key = w.key AND d.status = 'pending')
"""


def _make_webhook(row: tuple[Any, ...]) -> Webhook:
    key, url, description, events, *filters = row[:8]
    secret, is_active, is_limited, projects = row[8:12]
    return Webhook(
        key,
        url,
        description,
        EventFilter(frozenset(orjson.loads(events)), *filters),
        secret,
        bool(is_active),
        Scope(only=frozenset(orjson.loads(projects))) if is_limited else WHOLE,
        *row[12:],
    )


def _within(scope: Scope) -> str:
    """Return the condition that a webhook ``w`` tells nothing which is not in a scope."""
    if scope.is_whole:
        return "1"
    allowed = scope.condition("p.project_key")
    return (
        "(w.is_limited AND NOT EXISTS (SELECT 1 FROM webhook_projects p"
        f" WHERE p.webhook_key = w.key AND NOT ({allowed})))"
    )


def insert_webhook(
    *,
    url: str,
    description: str,
    events: Iterable[str],
    filters: dict[str, str | None],
    secret: str,
    is_active: bool,
    scope: Scope,
) -> Webhook:
    """Insert a webhook that is told of what happens from now on, and return it.

    Args:
        url: Where to send.
        description: What people call it.
        events: Types of events; none for all.
        filters: What else events must be, by the names of FILTERS.
        secret: What signs.
        is_active: Whether anything is sent.
        scope: What is there for who makes it.

    Raises:
        Conflict: There are MAX_WEBHOOKS already.
        Forbidden: Some projects are hidden from who makes it; later ones could be, too.
    """
    if scope.only is None and scope.hidden:
        raise Forbidden("Webhooks are made by those who see all projects, or by limited keys.")
    moment = now()
    with writing(moves=None):
        counted = fetch_one("SELECT count(*) FROM webhooks")
        if counted and counted[0] >= MAX_WEBHOOKS:
            raise Conflict(f"There are {MAX_WEBHOOKS} webhooks already; delete one first.")
        row = fetch_one(
            "INSERT INTO webhooks (url, description, events, project_path, conversation_id, role,"
            " tool, secret, is_active, is_limited, created_at, updated_at, position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING key",
            (
                url,
                description,
                orjson.dumps(sorted(set(events))).decode(),
                *(filters.get(name) for name in FILTERS),
                secret,
                is_active,
                scope.only is not None,
                moment,
                moment,
                read_bounds().latest,
            ),
        )
        assert row is not None
        projects = [(row[0], project) for project in scope.only or () if scope.allows(project)]
        execute_many(
            "INSERT INTO webhook_projects (webhook_key, project_key) VALUES (?, ?)", projects
        )
        return get_webhook(row[0], scope=scope)


def get_webhook(key: int, *, scope: Scope) -> Webhook:
    """Return a webhook.

    Raises:
        NotFound: There is none, or it tells more than is there for who asks.
    """
    row = fetch_one(
        f"SELECT {_COLUMNS}, {_PENDING} FROM webhooks w WHERE w.key = ? AND {_within(scope)}",
        (key,),
    )
    if row is None:
        raise NotFound("webhook", str(key))
    return _make_webhook(row)


def list_webhooks(*, limit: int, offset: int, scope: Scope) -> Page:
    """Return one page of webhooks, in the order of their making.

    Args:
        limit: Largest number of rows.
        offset: How many rows to pass over.
        scope: What is there for who asks; what tells more is left out.
    """
    within = _within(scope)
    rows = fetch_all(
        f"SELECT {_COLUMNS}, {_PENDING} FROM webhooks w WHERE {within}"
        " ORDER BY w.key LIMIT ? OFFSET ?",
        (limit + 1, offset),
    )
    counted = fetch_one(f"SELECT count(*) FROM webhooks w WHERE {within}")
    return Page(
        rows=[_make_webhook(row).document() for row in rows[:limit]],
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def has_webhooks() -> bool:
    """Tell whether there are any, active or not."""
    return fetch_one("SELECT 1 FROM webhooks LIMIT 1") is not None


def list_active_webhooks() -> list[Webhook]:
    """Return all webhooks to which anything is sent; what waits for them is not counted."""
    rows = fetch_all(f"SELECT {_COLUMNS}, 0 FROM webhooks w WHERE w.is_active ORDER BY w.key")
    return [_make_webhook(row) for row in rows]


def update_webhook(key: int, changes: dict[str, Any], *, scope: Scope) -> Webhook:
    """Change a webhook and return it.

    One that is switched on is told of what happens from then on, and counts its failures anew.

    Args:
        key: Which one.
        changes: New values of ``url``, ``description``, ``events``, ``filters``, ``secret`` and
            ``is_active``; what is missing stays.
        scope: What is there for who changes it.

    Raises:
        NotFound: There is none, or it tells more than is there for who asks.
    """
    with writing(moves=None):
        known = get_webhook(key, scope=scope)
        columns: dict[str, Any] = {"updated_at": now()}
        for name in ("url", "description", "secret", "is_active"):
            if name in changes:
                columns[name] = changes[name]
        if "events" in changes:
            columns["events"] = orjson.dumps(sorted(set(changes["events"]))).decode()
        if "filters" in changes:
            columns |= {name: changes["filters"].get(name) for name in FILTERS}
        if columns.get("is_active") and not known.is_active:
            columns |= {"position": read_bounds().latest, "dead_in_a_row": 0}
            columns |= {"switched_off": None, "switched_off_at": None}
        assignments = ", ".join(f"{name} = ?" for name in columns)
        execute(f"UPDATE webhooks SET {assignments} WHERE key = ?", (*columns.values(), key))
        return get_webhook(key, scope=scope)


def delete_webhook(key: int, *, scope: Scope) -> Webhook:
    """Delete a webhook with its deliveries, and return what it was.

    Raises:
        NotFound: There is none, or it tells more than is there for who asks.
    """
    with writing(moves=None):
        known = get_webhook(key, scope=scope)
        execute("DELETE FROM webhooks WHERE key = ?", (key,))
    return known


def move_webhook(key: int, *, position: int, missed_events_at: str | None = None) -> None:
    """Note, inside a transaction, up to which event was looked at, and whether some were lost."""
    execute(
        "UPDATE webhooks SET position = ?, missed_events_at = coalesce(?, missed_events_at)"
        " WHERE key = ?",
        (position, missed_events_at, key),
    )


def switch_off_webhook(key: int, *, reason: str, moment: str) -> None:
    """Send nothing more, inside a transaction; ``reason`` is ``gone`` or ``failing``."""
    execute(
        "UPDATE webhooks SET is_active = 0, switched_off = ?, switched_off_at = ?"
        " WHERE key = ? AND is_active",
        (reason, moment, key),
    )


def note_delivered(key: int, *, moment: str) -> None:
    """Note, inside a transaction, that a delivery came through."""
    execute(
        "UPDATE webhooks SET dead_in_a_row = 0, last_delivered_at = ? WHERE key = ?", (moment, key)
    )


def note_dead(key: int) -> int:
    """Note, inside a transaction, that a delivery was given up; return how many in a row."""
    row = fetch_one(
        "UPDATE webhooks SET dead_in_a_row = dead_in_a_row + 1 WHERE key = ?"
        " RETURNING dead_in_a_row",
        (key,),
    )
    return row[0] if row else 0
