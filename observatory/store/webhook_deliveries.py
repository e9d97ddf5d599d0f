"""What is to be sent to webhooks, and how far that is.

A delivery points at its event. It is ``pending`` until it was ``delivered``, was given up
(``dead``), or has nothing to say any more (``dropped``).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from observatory.errors import Conflict, NotFound
from observatory.store.database import execute, execute_many, fetch_all, fetch_one
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.store.scopes import Scope
from observatory.store.totals import add_to_total
from observatory.store.webhooks import Webhook, get_webhook
from observatory.timestamps import format_timestamp, now

PENDING = "pending"
DELIVERED = "delivered"
DEAD = "dead"
DROPPED = "dropped"
STATUSES = (PENDING, DELIVERED, DEAD, DROPPED)
TEST_TYPE = "webhook_test"
# More than these do not wait for one webhook: the oldest are given up.
MAX_PENDING = 10_000
# More than these that are over are not kept for one webhook, whatever their age.
MAX_DONE = 10_000
MAX_PENDING_TESTS = 10
KEPT_FOR = timedelta(days=3)
DEAD_KEPT_FOR = timedelta(days=30)
# What was due so long ago waits for a webhook that is switched off.
MAX_OVERDUE = timedelta(days=7)
_AT_ONCE = 5000
_ORDER = "deliveries"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook.

    Attributes:
        key: Its number here.
        id: Its name for receivers, the same on every attempt.
        webhook_key: For whom.
        event_id: Which event; ``None`` for a test.
        event_type: Its type.
        status: One of STATUSES.
        attempts: How often it was tried since it was made, or sent again by hand.
        created_at: When it was made.
        next_attempt_at: When it is to be tried, if it is pending.
        last_attempt_at: When it was tried last.
        last_status: The status of the last answer, if one came.
        last_error: The kind of the last failure.
        finished_at: Since when it is over.
    """

    key: int
    id: str
    webhook_key: int
    event_id: int | None
    event_type: str
    status: str
    attempts: int
    created_at: str
    next_attempt_at: str | None
    last_attempt_at: str | None
    last_status: int | None
    last_error: str | None
    finished_at: str | None

    def document(self) -> dict[str, Any]:
        """Return the delivery as the API shows it."""
        return {
            "id": self.id,
            "webhook_id": self.webhook_key,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "status": self.status,
            "attempts": self.attempts,
            "created_at": self.created_at,
            "next_attempt_at": self.next_attempt_at,
            "last_attempt_at": self.last_attempt_at,
            "last_status": self.last_status,
            "last_error": self.last_error,
            "finished_at": self.finished_at,
        }


_COLUMNS = (
    "key, id, webhook_key, event_id, event_type, status, attempts, created_at, next_attempt_at,"
    " last_attempt_at, last_status, last_error, finished_at"
)


def insert_deliveries(
    webhook_key: int, events: Iterable[tuple[int | None, str]], *, moment: str
) -> list[str]:
    """Insert deliveries of events (their ids and types), due at once; return their ids.

    Inside a transaction.
    """
    rows = [
        (str(uuid.uuid4()), webhook_key, event_id, event_type, moment, moment)
        for event_id, event_type in events
    ]
    execute_many(
        "INSERT INTO webhook_deliveries (id, webhook_key, event_id, event_type, status,"
        " created_at, next_attempt_at) VALUES (?, ?, ?, ?, 'pending', ?, ?)",
        rows,
    )
    return [row[0] for row in rows]


def give_up_oldest(webhook_key: int, *, moment: str) -> int:
    """Give up what waits beyond MAX_PENDING, the oldest events first; return how many.

    Inside a transaction.
    """
    counted = fetch_one(
        "SELECT count(*) FROM webhook_deliveries INDEXED BY webhook_deliveries_in_order"
        " WHERE webhook_key = ? AND status = 'pending'",
        (webhook_key,),
    )
    too_many = (counted[0] if counted else 0) - MAX_PENDING
    if too_many <= 0:
        return 0
    given_up = execute(
        "UPDATE webhook_deliveries SET status = 'dead', next_attempt_at = NULL, finished_at = ?,"
        " last_error = 'too_many_waiting' WHERE key IN (SELECT key FROM webhook_deliveries"
        " INDEXED BY webhook_deliveries_in_order WHERE webhook_key = ? AND status = 'pending'"
        " ORDER BY event_id LIMIT ?)",
        (moment, webhook_key, too_many),
    )
    add_to_total("webhook_dead", given_up)
    return given_up


def insert_test(webhook: Webhook) -> Delivery:
    """Insert a delivery of a test, inside a transaction, and return it.

    Raises:
        Conflict: The webhook is switched off, or MAX_PENDING_TESTS wait already.
    """
    _check_active(webhook)
    counted = fetch_one(
        "SELECT count(*) FROM webhook_deliveries INDEXED BY webhook_deliveries_in_order"
        " WHERE webhook_key = ? AND status = 'pending' AND event_id IS NULL",
        (webhook.key,),
    )
    if counted and counted[0] >= MAX_PENDING_TESTS:
        raise Conflict(f"{MAX_PENDING_TESTS} tests wait already; is the watcher running?")
    [identifier] = insert_deliveries(webhook.key, [(None, TEST_TYPE)], moment=now())
    return _get_delivery(webhook.key, identifier)


def send_again(webhook: Webhook, identifier: str) -> Delivery:
    """Have a delivery sent again that is over, inside a transaction, and return it.

    Raises:
        NotFound: The webhook has no such delivery.
        Conflict: The webhook is switched off; or the delivery waits, or has nothing to say.
    """
    known = _get_delivery(webhook.key, identifier)
    _check_active(webhook)
    if known.status == PENDING:
        raise Conflict("This delivery waits already.")
    if known.status == DROPPED:
        raise Conflict("What this delivery was about is there no more.")
    execute(
        "UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = ?,"
        " finished_at = NULL WHERE key = ?",
        (now(), known.key),
    )
    return _get_delivery(webhook.key, identifier)


def _check_active(webhook: Webhook) -> None:
    if not webhook.is_active:
        raise Conflict("This webhook is switched off; switch it on first (is_active).")


def _get_delivery(webhook_key: int, identifier: str) -> Delivery:
    row = fetch_one(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE id = ? AND webhook_key = ?",
        (identifier, webhook_key),
    )
    if row is None:
        raise NotFound("delivery", identifier)
    return Delivery(*row)


def list_deliveries(
    webhook_key: int,
    *,
    status: str | None,
    limit: int,
    offset: int,
    cursor: str | None,
    scope: Scope,
) -> Page:
    """Return one page of the deliveries of a webhook, the latest first.

    Raises:
        NotFound: There is no such webhook, or not for who asks.
        InvalidParameter: The cursor is not of this list.
    """
    get_webhook(webhook_key, scope=scope)
    where, parameters = "webhook_key = :webhook", {"webhook": webhook_key, "status": status}
    if status is not None:
        where += " AND status = :status"
    counted = fetch_one(f"SELECT count(*) FROM webhook_deliveries WHERE {where}", parameters)
    if cursor is not None:
        [parameters["after"]] = decode_cursor(cursor, order=_ORDER, types=(int,))
        where += " AND key < :after"
    rows = fetch_all(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE {where}"
        " ORDER BY key DESC LIMIT :limit OFFSET :offset",
        {**parameters, "limit": limit + 1, "offset": offset},
    )
    return make_page(
        [Delivery(*row).document() for row in rows],
        [(row[0],) for row in rows],
        order=_ORDER,
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
    )


def find_next(webhook_key: int, *, moment: str) -> Delivery | str | None:
    """Return the delivery to begin now, else when one will be due, else ``None``.

    The oldest event that is due comes first, and a test before all.
    """
    due = fetch_one(
        "SELECT min(next_attempt_at) FROM webhook_deliveries INDEXED BY webhook_deliveries_due"
        " WHERE webhook_key = ? AND status = 'pending'",
        (webhook_key,),
    )
    if due is None or due[0] is None:
        return None
    if due[0] > moment:
        return str(due[0])
    row = fetch_one(
        f"SELECT {_COLUMNS} FROM webhook_deliveries INDEXED BY webhook_deliveries_in_order"
        " WHERE webhook_key = ? AND status = 'pending' AND next_attempt_at <= ?"
        " ORDER BY event_id LIMIT 1",
        (webhook_key, moment),
    )
    return Delivery(*row) if row else None


def note_attempt(
    delivery: Delivery,
    *,
    status: str,
    moment: str,
    next_attempt_at: str | None = None,
    answer_status: int | None,
    error: str | None,
) -> bool:
    """Write what came of an attempt, inside a transaction.

    Args:
        delivery: What was tried.
        status: What it is now, one of STATUSES.
        moment: The time of the attempt.
        next_attempt_at: When to try again; for ``pending`` alone.
        answer_status: The HTTP status of the answer.
        error: The kind of failure.

    Returns:
        Whether it still waited: it may have been given up or deleted meanwhile. That it came
        through is written all the same.
    """
    condition = "" if status == DELIVERED else " AND status = 'pending'"
    changed = execute(
        "UPDATE webhook_deliveries SET status = ?, attempts = attempts + 1, last_attempt_at = ?,"
        " next_attempt_at = ?, last_status = ?, last_error = ?, finished_at = ?"
        f" WHERE key = ?{condition}",
        (
            status,
            moment,
            next_attempt_at,
            answer_status,
            error,
            None if status == PENDING else moment,
            delivery.key,
        ),
    )
    if changed:
        add_to_total("webhook_failed_attempts", int(status != DELIVERED))
        if status != PENDING:
            add_to_total(f"webhook_{status}", 1)
    return changed > 0


def drop(delivery: Delivery, *, reason: str, moment: str) -> None:
    """End a delivery that has nothing to say, inside a transaction, without an attempt."""
    dropped = execute(
        "UPDATE webhook_deliveries SET status = 'dropped', next_attempt_at = NULL,"
        " last_error = ?, finished_at = ? WHERE key = ? AND status = 'pending'",
        (reason, moment, delivery.key),
    )
    add_to_total("webhook_dropped", dropped)


def tidy(moment: datetime) -> int:
    """Delete what was over long ago, and give up what waits for nobody; return how many.

    What waits since a time that is still to come, as after the clock was set back, is due at once.
    Inside a transaction. A bounded number at once: call it again as long as it returns any.
    """
    changed = expire_done(moment, limit=_AT_ONCE)
    overdue = format_timestamp(moment - MAX_OVERDUE)
    for (webhook_key,) in fetch_all("SELECT key FROM webhooks"):
        changed += execute(
            "DELETE FROM webhook_deliveries WHERE key IN (SELECT key FROM webhook_deliveries"
            " WHERE webhook_key = ? AND status <> 'pending' ORDER BY key DESC LIMIT ? OFFSET ?)",
            (webhook_key, _AT_ONCE - changed, MAX_DONE),
        )
        given_up = execute(
            "UPDATE webhook_deliveries SET status = 'dead', next_attempt_at = NULL,"
            " finished_at = ?, last_error = 'waited_too_long' WHERE key IN"
            " (SELECT key FROM webhook_deliveries WHERE webhook_key = ? AND status = 'pending'"
            " AND next_attempt_at < ? LIMIT ?)",
            (format_timestamp(moment), webhook_key, overdue, _AT_ONCE - changed),
        )
        add_to_total("webhook_dead", given_up)
        changed += given_up
        changed += execute(
            "UPDATE webhook_deliveries SET next_attempt_at = ?1 WHERE key IN"
            " (SELECT key FROM webhook_deliveries WHERE webhook_key = ?2 AND status = 'pending'"
            " AND next_attempt_at > ?1 AND coalesce(last_attempt_at, created_at) > ?1 LIMIT ?3)",
            (format_timestamp(moment), webhook_key, _AT_ONCE - changed),
        )
    return changed


def expire_done(moment: datetime, *, limit: int) -> int:
    """Delete what was over long ago, inside a transaction; return how many there were."""
    changed = 0
    for status, age in ((DELIVERED, KEPT_FOR), (DROPPED, KEPT_FOR), (DEAD, DEAD_KEPT_FOR)):
        changed += execute(
            "DELETE FROM webhook_deliveries WHERE key IN (SELECT key FROM webhook_deliveries"
            " WHERE status = ? AND status <> 'pending' AND finished_at < ? LIMIT ?)",
            (status, format_timestamp(moment - age), limit - changed),
        )
    return changed


@dataclass(frozen=True, slots=True)
class Backlog:
    """What there is to do, over all webhooks.

    Attributes:
        waiting: Deliveries that wait, of active webhooks.
        dead: Deliveries that were given up and are kept.
        oldest_waiting_at: When the first one that waits was made.
    """

    waiting: int
    dead: int
    oldest_waiting_at: str | None


_WAITING = (
    " FROM webhook_deliveries d INDEXED BY webhook_deliveries_in_order"
    " WHERE d.webhook_key = w.key AND d.status = 'pending'"
)
READ_BACKLOG = (
    f"SELECT coalesce(sum((SELECT count(*){_WAITING})), 0),"
    " (SELECT count(*) FROM webhook_deliveries INDEXED BY webhook_deliveries_done"
    " WHERE status = 'dead' AND status <> 'pending'),"
    f" min((SELECT d.created_at{_WAITING} ORDER BY d.event_id LIMIT 1))"
    " FROM webhooks w WHERE w.is_active"
)


def read_backlog() -> Backlog:
    """Return what there is to do, over all webhooks."""
    row = fetch_one(READ_BACKLOG)
    assert row is not None
    return Backlog(*row)
