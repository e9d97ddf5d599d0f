"""Pages of a list: by offset for people, by cursor for programs."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from observatory.errors import InvalidParameter

_MAX_CURSOR_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """A run of rows out of ``total``; ``next_cursor`` is ``None`` on the last page.

    The rows are a list, or a ``Fragment`` of one that is written as JSON already.
    """

    rows: Any
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None

    def pagination(self) -> dict[str, Any]:
        """Return the ``pagination`` object of the API."""
        return {
            "total": self.total,
            "limit": self.limit,
            "offset": self.offset,
            "has_more": self.has_more,
            "next_cursor": self.next_cursor,
        }


def encode_cursor(order: str, position: tuple[Any, ...]) -> str:
    """Return an opaque cursor for the place behind a row in an order."""
    return base64.urlsafe_b64encode(orjson.dumps([order, *position])).rstrip(b"=").decode()


def decode_cursor(
    cursor: str, *, order: str, types: tuple[type, ...], field: str = "cursor"
) -> tuple[Any, ...]:
    """Return the position in a cursor.

    Args:
        cursor: What a client sent.
        order: The name of the order that it must be of.
        types: Those of the values of a position.
        field: The name of the parameter, for a refusal.

    Raises:
        InvalidParameter: It is no cursor of this list and order.
    """
    try:
        if len(cursor) > _MAX_CURSOR_CHARACTERS:
            raise ValueError
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        given, *position = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidParameter(field, "Not a cursor of this list.") from error
    if given != order:
        raise InvalidParameter(field, "This cursor belongs to another order or list.")
    if [type(value) for value in position] != list(types):
        raise InvalidParameter(field, "Not a cursor of this list.")
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in position):
        raise InvalidParameter(field, "Not a cursor of this list.")
    return tuple(position)


def make_page(
    rows: list[Any],
    positions: list[tuple[Any, ...]],
    *,
    order: str,
    total: int,
    limit: int,
    offset: int,
    has_cursors: bool = True,
) -> Page:
    """Return a page of rows that were asked for with one more than ``limit``.

    Args:
        rows: At most ``limit`` + 1 rows.
        positions: The place of each row in the order.
        order: The name of the order, which a cursor is bound to.
        total: How many rows there are on all pages.
        limit: Largest number of rows on a page.
        offset: How many rows were passed over.
        has_cursors: Whether one can go on behind a row.
    """
    has_more = len(rows) > limit
    return Page(
        rows=rows[:limit],
        total=total,
        limit=limit,
        offset=offset,
        has_more=has_more,
        next_cursor=(
            encode_cursor(order, positions[limit - 1]) if has_more and has_cursors else None
        ),
    )
