"""Where secrets were found: their kinds and keyed hashes, never their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from observatory.store.database import execute, execute_many, fetch_all, fetch_one
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.store.scopes import Scope
from observatory.timestamps import now

# Kind, place, hash and times of secrets that were found in one thing.
Found = Sequence[tuple[str, str, str, int]]


class FindingRow(NamedTuple):
    """A row of ``secret_findings``: of a message, or else of a conversation.

    ``place`` is the part of it: ``content``, ``parameters``, ``title`` and so on. ``times`` is how
    often the same secret stands there.
    """

    message_key: int | None
    conversation_key: int | None
    kind: str
    place: str
    hash: str
    times: int


_INSERT = (
    "INSERT INTO secret_findings (message_key, conversation_key, kind, place, hash, count,"
    " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT ({owner}, kind, place, hash) WHERE {owner} IS NOT NULL"
    " DO UPDATE SET count = max(count, excluded.count)"
)


def insert_findings(rows: Iterable[FindingRow]) -> None:
    """Keep findings; the same secret in the same place of a message is one."""
    moment = now()
    of_messages: list[tuple[Any, ...]] = []
    of_conversations: list[tuple[Any, ...]] = []
    for row in rows:
        (of_conversations if row.message_key is None else of_messages).append((*row, moment))
    execute_many(_INSERT.format(owner="message_key"), of_messages)
    execute_many(_INSERT.format(owner="conversation_key"), of_conversations)


def insert_found(
    found: Found, *, message_key: int | None = None, conversation_key: int | None = None
) -> None:
    """Keep what was found in a message, or else in what is said of a conversation."""
    insert_findings(FindingRow(message_key, conversation_key, *finding) for finding in found)


def delete_findings_of(conversation_key: int, *, place: str) -> None:
    """Forget what was found in a part of what is said of a conversation: it is another now."""
    execute(
        "DELETE FROM secret_findings WHERE conversation_key = ? AND place = ?",
        (conversation_key, place),
    )


_ORDER = "secrets"
_FROM = """
    FROM secret_findings f LEFT JOIN messages m ON m.key = f.message_key
    JOIN conversations c ON c.key = coalesce(m.conversation_key, f.conversation_key)
    WHERE c.deleted_at IS NULL
"""
_SELECT = f"""
    SELECT f.key, f.kind, f.hash, c.id, m.id, f.place, f.count, f.created_at,
        (SELECT count(DISTINCT same.message_key) FROM secret_findings same
         WHERE same.kind = f.kind AND same.hash = f.hash{{same_there}})
    {_FROM}
"""
# Messages with the same secret, of those that are there.
_SAME_THERE = (
    " AND EXISTS (SELECT 1 FROM messages n JOIN conversations d ON d.key = n.conversation_key"
    " WHERE n.key = same.message_key{there})"
)


def list_findings(
    *,
    scope: Scope,
    limit: int,
    offset: int = 0,
    cursor: str | None = None,
    kind: str | None = None,
    conversation_id: str | None = None,
) -> Page:
    """Return one page of findings, the latest first; what is in the trash is left out.

    Args:
        scope: Whose conversations are there at all.
        limit: Largest number of rows.
        offset: How many rows to pass over.
        cursor: Place after which to continue; ``None`` starts at the top.
        kind: Only secrets of this kind.
        conversation_id: Only those of this conversation.

    Raises:
        InvalidParameter: The cursor is none of this list.
    """
    filters, values = scope.and_there("c"), list[Any]()
    select = _SELECT.format(
        same_there="" if scope.is_whole else _SAME_THERE.format(there=scope.and_there("d"))
    )
    for column, value in (("f.kind", kind), ("c.id", conversation_id)):
        if value is not None:
            filters += f" AND {column} = ?"
            values.append(value)
    counted = fetch_one(f"SELECT count(*) {_FROM}{filters}", tuple(values))
    if cursor is not None:
        filters += " AND f.key < ?"
        values += decode_cursor(cursor, order=_ORDER, types=(int,))
    rows = fetch_all(
        f"{select}{filters} ORDER BY f.key DESC LIMIT ? OFFSET ?", (*values, limit + 1, offset)
    )
    return make_page(
        [_finding(row) for row in rows],
        [(row[0],) for row in rows],
        order=_ORDER,
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
    )


def _finding(row: tuple[Any, ...]) -> dict[str, Any]:
    names = (
        "id", "kind", "hash", "conversation_id", "message_id", "where", "count", "created_at",
        "message_count",
    )  # fmt: skip
    return dict(zip(names, row, strict=True))
