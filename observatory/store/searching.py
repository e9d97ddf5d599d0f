"""Full-text search: messages that match, best or newest first.

What is ranked is bounded: the newest CANDIDATES messages that match. More than that nobody pages
through, and ranking 87,000 of them takes forty times as long (docs/performance.md). The answer
says when there were more.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import orjson

from observatory.errors import InvalidParameter
from observatory.store.conversation_documents import UNTITLED
from observatory.store.database import DatabaseError, fetch_all, fetch_one
from observatory.store.pages import decode_cursor, encode_cursor
from observatory.store.search_language import JOINT, ParsedQuery, Term, parse_query
from observatory.timestamps import parse_moment

CANDIDATES = 1000
# A filter that few messages pass must not walk all that match: so many are looked at, at most.
EXAMINED = 50_000
SNIPPET_TOKENS = 24
_OPEN, _CLOSE = "\x02", "\x03"
ROLES = ("user", "assistant", "system")


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for. Filters given here and in ``q`` must both hold.

    ``before`` and ``after`` are times in the one text form; ``after`` itself counts.
    """

    q: str | None = None
    project: str | None = None
    role: str | None = None
    kind: str | None = None
    tool: str | None = None
    model: str | None = None
    is_error: bool | None = None
    before: str | None = None
    after: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that matches; a smaller ``rank`` is better.

    ``key`` is the message that has the text, ``shown_key`` the one to show: itself, or a copy of it
    in another conversation.
    """

    key: int
    rank: float
    shown_key: int


@dataclass(frozen=True, slots=True)
class Matches:
    """The bounded set of messages that match, in the order asked for.

    ``is_exact`` is false when there are more than were looked at. ``ceiling`` is the newest message
    that could be found; later pages look no further. ``times`` has the time of each message by key
    when they are in that order. ``request`` has the filters that stand in ``query`` too.
    """

    query: ParsedQuery
    request: SearchRequest

    candidates: list[Candidate]
    times: dict[int, str]
    is_exact: bool
    ceiling: int


_IN_PROJECT = (
    "c.project_key IN (SELECT key FROM projects WHERE path = :project"
    " OR name = :project COLLATE NOCASE OR path LIKE :project_like ESCAPE '\\')"
)
# Of f, which has the text, m, which is shown, and the conversation c of m.
_CONDITIONS = {
    "project": _IN_PROJECT,
    "role": "m.role = :role",
    "kind": "m.kind = :kind",
    "tool": "EXISTS (SELECT 1 FROM tool_uses t WHERE (t.message_key = f.key"
    " OR t.result_message_key = f.key) AND t.name = :tool COLLATE NOCASE)",
    "model": "m.model LIKE :model_like ESCAPE '\\'",
    "is_error": "(m.kind = 'api_error' OR EXISTS (SELECT 1 FROM tool_uses t WHERE"
    " (t.message_key = f.key OR t.result_message_key = f.key) AND t.is_error = 1)) = :is_error",
    "before": "m.created_at < :before",
    "after": "m.created_at >= :after",
}
# The message itself where that can be shown, or else the first of its copies that can.
_SHOWN = """coalesce(
    (SELECT k.key FROM messages k CROSS JOIN conversations d ON d.key = k.conversation_key
     WHERE k.key = f.key AND {there}),
    (SELECT min(k.key) FROM messages k CROSS JOIN conversations d ON d.key = k.conversation_key
     WHERE k.copy_of_key = f.key AND {there}))"""
# The messages that have the texts of a conversation: its own, and the originals of its copies.
_TEXTS_OF = """
    SELECT key FROM messages WHERE conversation_key = :conversation_key
    UNION ALL SELECT copy_of_key FROM messages
    WHERE conversation_key = :conversation_key AND copy_of_key IS NOT NULL
"""


def _merge(request: SearchRequest) -> tuple[ParsedQuery, SearchRequest]:
    """Return the query and the request with the filters that stand in the query."""
    parsed = ParsedQuery() if request.q is None else parse_query(request.q)
    changes: dict[str, Any] = {}
    for name, value in parsed.filters.items():
        target, wanted = _read_filter(name, value)
        present = getattr(request, target)
        if present is not None and present != wanted:
            raise InvalidParameter("q", f"{name}: contradicts the parameter {target}.")
        changes[target] = wanted
    return parsed, replace(request, **changes)


def _read_filter(name: str, value: str) -> tuple[str, Any]:
    """Return the field of a request that ``name:value`` sets, and its value."""
    if name == "is":
        if value != "error":
            raise InvalidParameter("q", "is: takes error.")
        return "is_error", True
    if name == "role" and value not in ROLES:
        raise InvalidParameter("q", f"role: takes {', '.join(ROLES)}.")
    if name in ("before", "after"):
        moment = parse_moment(value)
        if moment is None:
            raise InvalidParameter("q", f"{name}: takes a day such as 2026-01-31, or a time.")
        return name, moment
    return {"in": "conversation_id"}.get(name, name), value


def find_matches(
    request: SearchRequest, *, newest_first: bool = False, ceiling: int | None = None
) -> Matches:
    """Return the messages that match, in order.

    Args:
        request: What to search for; words or a filter at least.
        newest_first: Latest message first, instead of best match first.
        ceiling: Look at messages up to this key only: what an earlier page began with.

    Raises:
        InvalidParameter: Nothing to search for, or something that can not be read.
    """
    parsed, request = _merge(request)
    if not parsed.match and request == SearchRequest(q=request.q):
        raise InvalidParameter("q", "Takes words to find, or a filter.")
    if ceiling is None:
        row = fetch_one(
            "SELECT value FROM totals WHERE name = 'indexed_message_key'"
            if parsed.match
            else "SELECT coalesce(max(key), 0) FROM messages"
        )
        ceiling = row[0] if row else 0
    rows, is_exact = _find(parsed.match, request, ceiling, is_ranked=not newest_first)
    candidates = [Candidate(*row) for row in rows]
    times: dict[int, str] = {}
    if newest_first:
        times = _read_column((c.key for c in candidates), "created_at")
        candidates.sort(key=lambda c: (times[c.key], c.key), reverse=True)
    else:
        candidates.sort(key=lambda c: (c.rank, -c.key))
    return Matches(parsed, request, candidates, times, is_exact, ceiling)


def _read_column(keys: Iterable[int], column: str) -> dict[int, Any]:
    """Return one column of ``messages`` by key."""
    return dict(
        fetch_all(
            f"SELECT key, {column} FROM messages WHERE key IN (SELECT value FROM json_each(?))",
            (orjson.dumps(list(keys)).decode(),),
        )
    )


def _has_trash() -> bool:
    sql = "SELECT EXISTS (SELECT 1 FROM conversations WHERE deleted_at IS NOT NULL)"
    return fetch_one(sql) == (1,)


def _filter_values(request: SearchRequest) -> dict[str, Any]:
    """Return what the conditions of the filters take."""
    values = asdict(request)
    for name in ("project", "model"):
        values[f"{name}_like"] = f"%{_escape_like(values[name] or '')}%"
    return values


def _find(
    match: str, request: SearchRequest, ceiling: int, *, is_ranked: bool
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows of candidates, and whether these are all that match."""
    values = _filter_values(request) | {
        "match": match,
        "floor": 0,
        "ceiling": ceiling,
        "examined": EXAMINED,
        "limit": CANDIDATES + 1,
    }
    conditions = [sql for name, sql in _CONDITIONS.items() if values[name] is not None]
    has_trash, is_within = _has_trash(), request.conversation_id is not None
    if is_within and not _enter_conversation(values):
        return [], True
    source = _source(match, is_within=is_within, is_ranked=is_ranked)
    is_whole = not conditions and not has_trash
    if is_whole and not is_within:
        # Nothing to look up: what FTS5 gives is the answer.
        sql = f"SELECT key, rank, key FROM ({source} LIMIT :limit)"
    else:
        shown = "f.key"
        if is_within:
            shown = _SHOWN.format(there="d.key = :conversation_key")
        elif has_trash:
            shown = _SHOWN.format(there="d.deleted_at IS NULL")
        sql = (
            f"SELECT f.key, f.rank, m.key FROM ({source} LIMIT :examined) f"
            f" CROSS JOIN messages m ON m.key = {shown}"
            " CROSS JOIN conversations c ON c.key = m.conversation_key"
            f" WHERE {' AND '.join(conditions) or 'true'} LIMIT :limit"
        )
    try:
        rows = fetch_all(sql, values)
        if len(rows) > CANDIDATES:
            return rows[:CANDIDATES], False
        return rows, is_whole or not _reached_bound(source, values)
    except DatabaseError as error:
        if "fts5" in str(error) or "malformed MATCH" in str(error):
            raise InvalidParameter("q", "This can not be searched for; use fewer signs.") from error
        raise


def _enter_conversation(values: dict[str, Any]) -> bool:
    """Bound a search by the texts of one conversation; tell whether it is there and has some."""
    conversation = fetch_one(
        "SELECT key FROM conversations WHERE id = :conversation_id AND deleted_at IS NULL", values
    )
    values["conversation_key"] = conversation[0] if conversation else None
    [(first, last)] = fetch_all(f"SELECT min(key), max(key) FROM ({_TEXTS_OF})", values)
    if first is None:
        return False
    values |= {"floor": first, "ceiling": min(values["ceiling"], last)}
    return True


def _source(match: str, *, is_within: bool, is_ranked: bool) -> str:
    """Return the statement that gives key and rank of what matches, newest first."""
    within = f"IN ({_TEXTS_OF})"
    if not match:
        return (
            "SELECT key, 0.0 AS rank FROM messages WHERE key BETWEEN :floor AND :ceiling"
            f" AND copy_of_key IS NULL{f' AND key {within}' if is_within else ''} ORDER BY key DESC"
        )
    # bm25 and the walk in the order of keys are FTS5's; the bound keeps both short. To weigh a
    # word, bm25 counts all its matches: only where the order asks for it. With the plus, SQLite
    # does not hand the keys to FTS5, which would search for each of them.
    return (
        f"SELECT rowid AS key, {'bm25(message_search)' if is_ranked else '0.0'} AS rank"
        " FROM message_search WHERE message_search MATCH :match"
        " AND rowid BETWEEN :floor AND :ceiling"
        f"{f' AND +rowid {within}' if is_within else ''} ORDER BY rowid DESC"
    )


def _reached_bound(source: str, values: dict[str, Any]) -> bool:
    """Tell whether more messages match than were looked at."""
    return fetch_one(f"SELECT 1 FROM ({source} LIMIT 1 OFFSET :examined)", values) is not None


def _escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


_HITS = """
    SELECT m.key, m.id, c.id, c.title, p.path, m.role, m.kind, m.created_at, m.model
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    LEFT JOIN projects p ON p.key = c.project_key
    WHERE m.key IN (SELECT value FROM json_each(?))
"""


def read_hits(candidates: Iterable[Candidate], *, match: str) -> list[dict[str, Any]]:
    """Return candidates as hits, in their order, each with a snippet.

    A snippet is HTML: the text is escaped, what matched is in ``<mark>``.
    """
    wanted = list(candidates)
    shown = orjson.dumps([candidate.shown_key for candidate in wanted]).decode()
    rows = {row[0]: row for row in fetch_all(_HITS, (shown,))}
    snippets = _read_snippets([candidate.key for candidate in wanted], match)
    return [
        {
            "message_id": row[1],
            "conversation_id": row[2],
            "conversation_title": row[3] or UNTITLED,
            "project_path": row[4],
            "role": row[5],
            "kind": row[6],
            "timestamp": row[7],
            "model": row[8],
            "rank": round(candidate.rank, 4),
            "snippet": snippets.get(candidate.key, ""),
        }
        for candidate in wanted
        if (row := rows.get(candidate.shown_key)) is not None
    ]


def _read_snippets(keys: list[int], match: str) -> dict[int, str]:
    if not keys:
        return {}
    wanted = orjson.dumps(keys).decode()
    if not match:
        rows = fetch_all(
            "SELECT key, substr(content, 1, 200) FROM messages"
            " WHERE key IN (SELECT value FROM json_each(?))",
            (wanted,),
        )
        return {key: html.escape(" ".join(text.split())) for key, text in rows}
    # One walk over the matches between the first and the last, and not one search for each: with
    # the plus, SQLite does not hand the keys to FTS5.
    rows = fetch_all(
        f"SELECT rowid, snippet(message_search, -1, '{_OPEN}', '{_CLOSE}', '…', {SNIPPET_TOKENS})"
        " FROM message_search WHERE message_search MATCH ? AND rowid BETWEEN ? AND ?"
        " AND +rowid IN (SELECT value FROM json_each(?))",
        (match, min(keys), max(keys), wanted),
    )
    return {key: _mark(text) for key, text in rows}


def _mark(text: str) -> str:
    """Return a snippet as HTML, with words that were taken apart put together again."""
    text = html.escape(text.replace(JOINT, ""))
    return text.replace(_OPEN, "<mark>").replace(_CLOSE, "</mark>")


# The filters that speak of conversations; one is of a time when it was active in it.
_TITLE_CONDITIONS = {
    "project": _IN_PROJECT,
    "model": "EXISTS (SELECT 1 FROM json_each(c.models) WHERE value LIKE :model_like ESCAPE '\\')",
    "before": "c.created_at < :before",
    "after": "c.updated_at >= :after",
    "conversation_id": "c.id = :conversation_id",
}


def find_titles(matches: Matches, *, limit: int = 10) -> list[dict[str, Any]]:
    """Return conversations whose title matches, best first.

    They are those that pass the filters. When one speaks of messages only, there are none. With
    Chinese, Japanese or Korean in the query all titles are looked through, latest activity first.
    """
    query, values = matches.query, _filter_values(matches.request) | {"limit": limit}
    given = [name for name in _CONDITIONS if values[name] is not None]
    if not query.groups or not _TITLE_CONDITIONS.keys() >= set(given):
        return []
    conditions = ["c.deleted_at IS NULL"]
    conditions += [sql for name, sql in _TITLE_CONDITIONS.items() if values[name] is not None]
    is_scan = any(term.has_cjk for term in query.terms)
    if is_scan:
        title, source, order = "c.title", "conversations c", "c.updated_at DESC, c.key DESC"
        conditions.append(_title_condition(query, values))
    else:
        title = f"highlight(title_search, 0, '{_OPEN}', '{_CLOSE}')"
        source = "title_search t JOIN conversations c ON c.key = t.rowid"
        order = "bm25(title_search), t.rowid DESC"
        conditions.append("title_search MATCH :match")
        values["match"] = query.match
    rows = fetch_all(
        f"SELECT c.id, {title}, p.path, c.updated_at FROM {source}"
        " LEFT JOIN projects p ON p.key = c.project_key"
        f" WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT :limit",
        values,
    )
    return [
        {
            "conversation_id": row[0],
            "title": _mark(_mark_terms(row[1], query) if is_scan else row[1]),
            "project_path": row[2],
            "updated_at": row[3],
        }
        for row in rows
    ]


def _title_condition(query: ParsedQuery, values: dict[str, Any]) -> str:
    """Return the condition that a title matches term by term, and add to the values it takes."""

    def has(term: Term) -> str:
        name = f"term_{len(values)}"
        if term.has_cjk:
            values[name] = term.text
            return f"instr(lower(c.title), lower(:{name})) > 0"
        values[name] = term.match
        return f"c.key IN (SELECT rowid FROM title_search WHERE title_search MATCH :{name})"

    groups = [f"({' OR '.join(map(has, group))})" for group in query.groups]
    return " AND ".join(groups + [f"NOT {has(term)}" for term in query.excluded])


def _mark_terms(title: str, query: ParsedQuery) -> str:
    """Return a title with what matched between the signs of a match."""
    patterns = []
    for term in chain(*query.groups):
        text = re.escape(term.text)
        end = "" if term.is_beginning else r"(?!\w)"
        patterns.append(text if term.has_cjk else rf"(?<!\w){text}{end}")
    return re.sub("|".join(patterns), rf"{_OPEN}\g<0>{_CLOSE}", title, flags=re.IGNORECASE)


_FACETS = {
    "project": "SELECT p.path FROM messages m JOIN conversations c ON c.key = m.conversation_key"
    " JOIN projects p ON p.key = c.project_key WHERE m.key IN wanted",
    "role": "SELECT role FROM messages m WHERE m.key IN wanted",
    "model": "SELECT model FROM messages m WHERE m.key IN wanted AND model IS NOT NULL",
    "month": "SELECT substr(created_at, 1, 7) FROM messages m WHERE m.key IN wanted",
    # A message that uses a tool often counts once for it.
    "tool": "SELECT name FROM (SELECT name, message_key FROM tool_uses WHERE message_key IN wanted"
    " UNION SELECT name, result_message_key FROM tool_uses WHERE result_message_key IN wanted)",
}
FACET_VALUES = 20


def count_facets(candidates: Iterable[Candidate]) -> dict[str, list[dict[str, Any]]]:
    """Return how many of the candidates have which project, role, tool, model and month."""
    found = list(candidates)
    shown = orjson.dumps([candidate.shown_key for candidate in found]).decode()
    # Tool uses are kept once, with the original.
    keys = orjson.dumps([candidate.key for candidate in found]).decode()
    facets = {}
    for name, sql in _FACETS.items():
        rows = fetch_all(
            f"WITH wanted AS MATERIALIZED (SELECT value FROM json_each(?)) {sql}",
            (keys if name == "tool" else shown,),
        )
        counted = Counter(row[0] for row in rows)
        facets[name] = [
            {"value": value, "count": number} for value, number in counted.most_common(FACET_VALUES)
        ]
    return facets


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
    newest_first: bool = False,
    limit: int = 20,
    offset: int = 0,
    cursor: str | None = None,
    with_facets: bool = False,
) -> SearchPage:
    """Return one page of hits.

    Args:
        request: What to search for.
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
    matches = find_matches(request, newest_first=newest_first, ceiling=ceiling)
    found = matches.candidates
    if position is not None:
        offset = sum([matches.times[c.key], c.key] >= position for c in found)
    shown = found[offset : offset + limit]
    next_cursor = None
    if len(found) > offset + limit:
        last = shown[-1].key
        place = (matches.times[last], last) if newest_first else (offset + limit,)
        next_cursor = encode_cursor(order, (matches.ceiling, *place))
    return SearchPage(
        hits=read_hits(shown, match=matches.query.match) if shown else [],
        titles=find_titles(matches) if offset == 0 and cursor is None else [],
        facets=count_facets(found) if with_facets else None,
        pagination={
            "total": len(found),
            "total_relation": "exact" if matches.is_exact else "at_least",
            "limit": limit,
            "offset": offset,
            "has_more": next_cursor is not None,
            "next_cursor": next_cursor,
        },
    )


def _decode_offset(cursor: str, order: str) -> tuple[int, int]:
    """Return the ceiling in a cursor, and how many rows to pass over."""
    ceiling, offset = decode_cursor(cursor, order=order, types=(int, int))
    if offset < 0:
        raise InvalidParameter("cursor", "Not a cursor of this list.")
    return ceiling, offset


def search_conversations(
    request: SearchRequest,
    *,
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
    matches = find_matches(request, newest_first=newest_first, ceiling=ceiling)
    grouped: dict[int, list[Candidate]] = {}
    conversation_keys = _read_column(
        (candidate.shown_key for candidate in matches.candidates), "conversation_key"
    )
    for candidate in matches.candidates:
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
    hits = {hit["message_id"]: hit for hit in read_hits(best, match=matches.query.match)}
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
    has_more = len(grouped) > offset + limit
    return SearchPage(
        hits=conversations,
        titles=find_titles(matches) if offset == 0 else [],
        facets=count_facets(matches.candidates) if with_facets else None,
        pagination={
            "total": len(grouped),
            "total_relation": "exact" if matches.is_exact else "at_least",
            "limit": limit,
            "offset": offset,
            "has_more": has_more,
            "next_cursor": encode_cursor(order, (matches.ceiling, offset + limit))
            if has_more
            else None,
        },
    )
