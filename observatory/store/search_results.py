"""What a search shows: messages with snippets, titles, and counts of both by facet."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable
from secrets import token_hex
from typing import Any

import orjson

from observatory.store.conversation_documents import UNTITLED
from observatory.store.database import fetch_all
from observatory.store.scopes import Scope
from observatory.store.search_language import JOINT, ParsedQuery
from observatory.store.search_matches import (
    CONDITIONS,
    IN_PROJECT,
    Candidate,
    Matches,
    filter_values,
)

SNIPPET_TOKENS = 24
# No text can hold them: they are others in each process.
_OPEN, _CLOSE = (f"\x02{token_hex(8)}\x02" for _ in range(2))
_HITS = """
    SELECT m.key, m.id, c.id, c.title, p.path, m.role, m.kind, m.created_at, m.model
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    LEFT JOIN projects p ON p.key = c.project_key
    WHERE m.key IN (SELECT value FROM json_each(?))
"""


def read_hits(candidates: Iterable[Candidate], *, matches: Matches) -> list[dict[str, Any]]:
    """Return candidates as hits, in their order, each with a snippet.

    A snippet is HTML: the text is escaped, what matched is in ``<mark>``.
    """
    wanted = list(candidates)
    shown = orjson.dumps([candidate.shown_key for candidate in wanted]).decode()
    rows = {row[0]: row for row in fetch_all(_HITS, (shown,))}
    snippets = _read_snippets([candidate.key for candidate in wanted], matches)
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


def _read_snippets(keys: list[int], matches: Matches) -> dict[int, str]:
    if not keys:
        return {}
    if not matches.parts:
        rows = fetch_all(
            "SELECT key, substr(content, 1, 200) FROM messages"
            " WHERE key IN (SELECT value FROM json_each(?))",
            (orjson.dumps(keys).decode(),),
        )
        return {key: html.escape(" ".join(text.split())) for key, text in rows}
    snippets: dict[int, str] = {}
    for part in matches.parts:
        within = [key for key in keys if part.first <= key <= part.last]
        if within:
            snippets |= _read_snippets_of(part.table, within, matches.query)
    return snippets


def _read_snippets_of(table: str, keys: list[int], query: ParsedQuery) -> dict[int, str]:
    # One walk over the matches between the first and the last, and not one search for each: with
    # the plus, SQLite does not hand the keys to FTS5. But to find out whether a phrase is in a text
    # is what takes long, so that is done for these texts only.
    column = "rowid" if query.is_phrase else "+rowid"
    rows = fetch_all(
        f"SELECT rowid, snippet({table}, -1, '{_OPEN}', '{_CLOSE}', '…', {SNIPPET_TOKENS})"
        f" FROM {table} WHERE {table} MATCH ? AND rowid BETWEEN ? AND ?"
        f" AND {column} IN (SELECT value FROM json_each(?))",
        (query.match, min(keys), max(keys), orjson.dumps(keys).decode()),
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


# A title with Chinese, Japanese or Korean in it is marked where that is taken apart.
_TITLES = f"""
    SELECT c.id, highlight(title_search, c.cjk <> '', '{_OPEN}', '{_CLOSE}'), p.path, c.updated_at
    FROM title_search t JOIN conversations c ON c.key = t.rowid
    LEFT JOIN projects p ON p.key = c.project_key
    WHERE title_search MATCH :match AND {{conditions}}
    ORDER BY bm25(title_search), t.rowid DESC LIMIT +:limit
"""


def find_titles(matches: Matches, *, scope: Scope, limit: int = 10) -> list[dict[str, Any]]:
    """Return conversations whose title matches, best first.

    They are those that pass the filters. When one speaks of messages only, there are none.
    """
    values = filter_values(matches.request) | {"limit": limit, "match": matches.query.match}
    given = [name for name in CONDITIONS if values[name] is not None]
    if not matches.query.match or not _TITLE_CONDITIONS.keys() >= set(given):
        return []
    conditions = ["c.deleted_at IS NULL" + scope.and_there("c")]
    conditions += [sql for name, sql in _TITLE_CONDITIONS.items() if values[name] is not None]
    return [
        {
            "conversation_id": row[0],
            "title": _mark(row[1]),
            "project_path": row[2],
            "updated_at": row[3],
        }
        for row in fetch_all(_TITLES.format(conditions=" AND ".join(conditions)), values)
    ]


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
