"""``Link`` headers of pages (RFC 8288): first, prev, next and last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

import falcon

from observatory.api.params import MAX_OFFSET

MAX_TARGET_CHARACTERS = 2000
_STARTS = ("offset", "cursor", "around")


@lru_cache(maxsize=1024)
def _read_address(path: str, query: str) -> tuple[str, bool]:
    """Return an address up to where a start of the page is added, and whether it has a cursor."""
    pieces = [piece for piece in query.split("&") if piece]
    names = [unquote_plus(piece.partition("=")[0]) for piece in pieces]
    kept = [piece for piece, name in zip(pieces, names, strict=True) if name not in _STARTS]
    # A server hands on the bytes of a query as Latin-1.
    tail = "".join(
        quote(piece.encode("latin-1", "replace"), safe="%=+:@/,;") + "&" for piece in kept
    )
    return quote(path.encode("utf-8", "replace"), safe="/:@,;=+") + "?" + tail, "cursor" in names


def add_links(req: falcon.Request, resp: falcon.Response, pagination: dict[str, Any]) -> None:
    """Tell where other pages of a list are, all other parameters kept.

    Args:
        req: The request for this page.
        resp: Its answer.
        pagination: ``total``, ``limit``, ``offset``, ``has_more`` and ``next_cursor``. When its
            ``total_relation`` is not ``exact`` there may be more: then no last page is named.
    """
    base, has_cursor = _read_address(req.root_path + req.path, req.query_string)
    if len(base) > MAX_TARGET_CHARACTERS:
        return
    limit, offset, total = pagination["limit"], pagination["offset"], pagination["total"]
    last = max(0, total - 1) // limit * limit
    links = [f'<{base[:-1]}>; rel="first"']
    if offset:
        links.append(f'<{_at(base, max(0, offset - limit))}>; rel="prev"')
    if pagination["next_cursor"] is not None:
        links.append(f'<{base}cursor={pagination["next_cursor"]}>; rel="next"')
    elif pagination["has_more"] and not has_cursor and offset + limit <= MAX_OFFSET:
        links.append(f'<{_at(base, offset + limit)}>; rel="next"')
    if pagination.get("total_relation", "exact") == "exact" and last <= MAX_OFFSET:
        links.append(f'<{_at(base, last)}>; rel="last"')
    resp.set_header("Link", ", ".join(links))


def _at(base: str, offset: int) -> str:
    return f"{base}offset={offset}" if offset else base[:-1]
