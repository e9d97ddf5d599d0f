"""The audit log: what was done by whom that others may want to know of later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from observatory.store.database import execute, fetch_all, fetch_one, writing
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.timestamps import now

ACTIONS = (
    "user.register", "user.login", "user.login_failed", "user.logout", "user.password",
    "user.create", "user.update", "user.delete", "session.reuse", "link.used", "key.create",
    "key.revoke", "project.update", "conversation.delete_permanently", "conversation.export",
    "webhook.create", "webhook.update", "webhook.delete", "webhook.test", "webhook.redeliver",
    "budget.create", "budget.update", "budget.delete", "conversation.trash", "project.retention",
    "database.restore",
)  # fmt: skip
_ORDER = "audit"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, and from where.

    Attributes:
        name: ``user:ID``, ``key:ID``, ``operator``, or ``retention`` for what was kept for as long
            as it is to be; ``None`` for somebody who is not signed in.
        label: How people call them: an email address or the name of a key.
        address: Where the request came from; ``None`` for a command.
        request_id: The id of the request.
    """

    name: str | None
    label: str | None = None
    address: str | None = None
    request_id: str | None = None


OPERATOR = Actor("operator")
RETENTION = Actor("retention")


def note(actor: Actor, action: str, *, target: str | None = None, **details: Any) -> None:
    """Write a line, in the transaction that is open or one of its own.

    Args:
        actor: Who did it.
        action: One of ACTIONS.
        target: What it was done to, such as ``user:3``.
        details: Facts that are no secrets.
    """
    with writing(moves=None):
        execute(
            "INSERT INTO audit_log (created_at, action, actor, actor_name, target, address,"
            " request_id, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                now(),
                action,
                actor.name,
                actor.label,
                target,
                actor.address,
                actor.request_id,
                orjson.dumps(details).decode(),
            ),
        )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines to list; ``None`` does not filter. Times are in the one text form."""

    action: str | None = None
    actor: str | None = None
    target: str | None = None
    date_from: str | None = None
    date_to: str | None = None


_CONDITIONS = {
    "action": "action = :action",
    "actor": "actor = :actor",
    "target": "target = :target",
    "date_from": "created_at >= :date_from",
    "date_to": "created_at <= :date_to",
}


def list_entries(wanted: AuditFilter, *, limit: int, offset: int, cursor: str | None) -> Page:
    """Return one page of the log, the latest line first.

    Raises:
        InvalidParameter: The cursor is not of this list.
    """
    parameters: dict[str, Any] = {
        name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None
    }
    conditions = [_CONDITIONS[name] for name in parameters]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    counted = fetch_one(f"SELECT count(*) FROM audit_log{where}", parameters)
    if cursor is not None:
        [parameters["after"]] = decode_cursor(cursor, order=_ORDER, types=(int,))
        where = f" WHERE {' AND '.join([*conditions, 'key < :after'])}"
    rows = fetch_all(
        "SELECT key, created_at, action, actor, actor_name, target, address, request_id, details"
        f" FROM audit_log{where} ORDER BY key DESC LIMIT :limit OFFSET :offset",
        {**parameters, "limit": limit + 1, "offset": offset},
    )
    return make_page(
        [_entry(row) for row in rows],
        [(row[0],) for row in rows],
        order=_ORDER,
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
    )


def _entry(row: tuple[Any, ...]) -> dict[str, Any]:
    key, created_at, action, actor, actor_name, target, address, request_id, details = row
    return {
        "id": key,
        "created_at": created_at,
        "action": action,
        "actor": actor,
        "actor_name": actor_name,
        "target": target,
        "address": address,
        "request_id": request_id,
        "details": orjson.loads(details),
    }


def expire_entries(*, before: str, limit: int) -> int:
    """Delete the oldest lines as far as they are from before a time; return how many.

    Inside a transaction.
    """
    return execute(
        "DELETE FROM audit_log WHERE created_at < ?"
        " AND key IN (SELECT key FROM audit_log ORDER BY key LIMIT ?)",
        (before, limit),
    )
