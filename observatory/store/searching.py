"""Full-text search: pages of messages that match, and of conversations by their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from observatory.errors import InvalidParameter
from observatory.store.database import fetch_all
from observatory.store.pages import decode_cursor, encode_cursor
from observatory.store.scopes import Scope
from observatory.store.search_matches import (
    Candidate,
    Matches,
    SearchRequest,
    find_matches,
    read_column,
)
from observatory.store.search_results import count_facets, find_titles, read_hits


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of hits out of a bounded set; ``total`` is a least number unless it is exact."""

    hits: list[dict[str, Any]]
    titles: list[dict[str, Any]]
    facets: dict[str, list[dict[str, Any]]] | None
    pagination: dict[str, Any]


def search_messages(
    request: SearchRequest,
    *,
    scope: Scope,
    newest_first: bool = False,
    limit: int = 20,
    offset: int = 0,
    cursor: str | None = None,
    with_facets: bool = False,
) -> SearchPage:
    """Return one page of hits.

    Args:
        request: What to search for.
        scope: Whose conversations are there at all.
        newest_first: Latest message first, instead of best match first.
        limit: Largest number of hits, 1 to 100.
        offset: How many hits to pass over.
        cursor: Where the page before this one ended; messages that came since the first page are
            left out. Newest first that is a place in time: each message that can still be found is
            shown once. Best first it is a number of hits to pass over in the ranking as it is now,
            which may have changed.
        with_facets: Whether to count what matches by project, role, tool, model and month.

    Raises:
        InvalidParameter: The query or the cursor can not be read.
    """
    order = f"search:{'newest' if newest_first else 'best'}"
    ceiling: int | None = None
    position: list[Any] | None = None
    if cursor is not None and newest_first:
        ceiling, *position = decode_cursor(cursor, order=order, types=(int, str, int))
    elif cursor is not None:
        ceiling, offset = _decode_offset(cursor, order)
    matches = find_matches(request, scope=scope, newest_first=newest_first, ceiling=ceiling)
    found = matches.rows
    if position is not None:
        offset = sum([time, key] >= position for key, _rank, _shown, time in found)
    shown = [Candidate(*row) for row in found[offset : offset + limit]]
    next_cursor = None
    if len(found) > offset + limit:
        last = shown[-1]
        place = (last.time, last.key) if newest_first else (offset + limit,)
        next_cursor = encode_cursor(order, (matches.ceiling, *place))
    return SearchPage(
        hits=read_hits(shown, matches=matches) if shown else [],
        titles=find_titles(matches, scope=scope) if offset == 0 and cursor is None else [],
        facets=count_facets(matches.candidates) if with_facets else None,
        pagination=_paginate(matches, len(found), limit, offset, next_cursor),
    )


def _paginate(
    matches: Matches, total: int, limit: int, offset: int, next_cursor: str | None
) -> dict[str, Any]:
    return {
        "total": total,
        "total_relation": "exact" if matches.is_exact else "at_least",
        "limit": limit,
        "offset": offset,
        "has_more": next_cursor is not None,
        "next_cursor": next_cursor,
    }


def _decode_offset(cursor: str, order: str) -> tuple[int, int]:
    """Return the ceiling in a cursor, and how many rows to pass over."""
    ceiling, offset = decode_cursor(cursor, order=order, types=(int, int))
    if offset < 0:
        raise InvalidParameter("cursor", "Not a cursor of this list.")
    return ceiling, offset


def search_conversations(
    request: SearchRequest,
    *,
    scope: Scope,
    newest_first: bool = False,
    limit: int = 20,
    offset: int = 0,
    cursor: str | None = None,
    with_facets: bool = False,
    hits_per_conversation: int = 3,
) -> SearchPage:
    """Return one page of conversations with their matching messages, best or newest first.

    A conversation is as good as its best message; ``matches`` says how many there are in it.

    Args:
        request: What to search for.
        scope: Whose conversations are there at all.
        newest_first: That with the latest matching message first, instead of the best match.
        limit: Largest number of conversations, 1 to 100.
        offset: How many conversations to pass over.
        cursor: How many to pass over in the ranking as it is now; messages that came since the
            first page are left out.
        with_facets: Whether to count the messages that match, in all conversations.
        hits_per_conversation: Largest number of messages shown of each.

    Raises:
        InvalidParameter: The query or the cursor can not be read.
    """
    order = f"search_conversations:{'newest' if newest_first else 'best'}"
    ceiling: int | None = None
    if cursor is not None:
        ceiling, offset = _decode_offset(cursor, order)
    matches = find_matches(request, scope=scope, newest_first=newest_first, ceiling=ceiling)
    grouped: dict[int, list[Candidate]] = {}
    candidates = matches.candidates
    conversation_keys = read_column((each.shown_key for each in candidates), "conversation_key")
    for candidate in candidates:
        grouped.setdefault(conversation_keys[candidate.shown_key], []).append(candidate)
    shown = list(grouped.items())[offset : offset + limit]
    keys = orjson.dumps([key for key, _ in shown]).decode()
    documents = dict(
        fetch_all(
            "SELECT key, document FROM conversations WHERE key IN (SELECT value FROM json_each(?))",
            (keys,),
        )
    )
    best = [hit for _, group in shown for hit in group[:hits_per_conversation]]
    hits = {hit["message_id"]: hit for hit in read_hits(best, matches=matches)}
    by_conversation: dict[str, list[dict[str, Any]]] = {}
    for hit in hits.values():
        by_conversation.setdefault(hit["conversation_id"], []).append(hit)
    conversations = []
    for key, group in shown:
        conversation = orjson.loads(documents[key])
        conversations.append(
            {
                "conversation": conversation,
                "matches": len(group),
                "messages": by_conversation.get(conversation["id"], []),
            }
        )
    next_cursor = None
    if len(grouped) > offset + limit:
        next_cursor = encode_cursor(order, (matches.ceiling, offset + limit))
    return SearchPage(
        hits=conversations,
        titles=find_titles(matches, scope=scope) if offset == 0 else [],
        facets=count_facets(candidates) if with_facets else None,
        pagination=_paginate(matches, len(grouped), limit, offset, next_cursor),
    )
