"""What a search shows: messages with snippets, titles, and counts of both by facet."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import orjson

from observatory.store.conversation_documents import UNTITLED
from observatory.store.database import fetch_all
from observatory.store.search_language import JOINT, ParsedQuery, Term
from observatory.store.search_matches import (
    CONDITIONS,
    IN_PROJECT,
    Candidate,
    Matches,
    filter_values,
)

SNIPPET_TOKENS = 24
_OPEN, _CLOSE = "\x02", "\x03"
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
    "project": IN_PROJECT,
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
    query, values = matches.query, filter_values(matches.request) | {"limit": limit}
    given = [name for name in CONDITIONS if values[name] is not None]
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
