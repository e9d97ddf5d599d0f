"""The messages that match a search, best or newest first.

What is ranked is bounded: the newest CANDIDATES messages that match. More than that nobody pages
through, and ranking 87,000 of them takes forty times as long (docs/performance.md). The answer
says when there were more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from observatory.errors import InvalidParameter
from observatory.store.database import DatabaseError, fetch_all, fetch_one
from observatory.store.scopes import Scope
from observatory.store.search_language import ParsedQuery, parse_query
from observatory.store.search_parts import Part, list_parts
from observatory.store.search_weights import weigh_alike
from observatory.timestamps import parse_moment

CANDIDATES = 1000
# A filter that few messages pass must not walk all that match: so many are looked at, at most.
EXAMINED = 50_000
# Where no more messages are there than this, only they are looked at, however many others match.
FEW = 10_000
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


class Candidate(NamedTuple):
    """A message that matches; a smaller ``rank`` is better.

    ``key`` is the message that has the text, ``shown_key`` the one to show: itself, or a copy of it
    in another conversation. ``time`` is that of the text, where the newest are asked for first.
    """

    key: int
    rank: float
    shown_key: int
    time: str = ""


@dataclass(frozen=True, slots=True)
class Matches:
    """The bounded set of messages that match, in the order asked for.

    ``rows`` are the values of candidates; to make those of a thousand takes as long as to find
    them. ``is_exact`` is false when there are more than were looked at. ``ceiling`` is the newest
    message that could be found; later pages look no further. ``request`` has the filters that stand
    in ``query`` too. ``parts`` are those of the index, none when no words were looked for.
    """

    query: ParsedQuery
    request: SearchRequest
    parts: list[Part]
    rows: list[tuple[Any, ...]]
    is_exact: bool
    ceiling: int

    @property
    def candidates(self) -> list[Candidate]:
        """All messages that match."""
        return [Candidate(*row) for row in self.rows]


IN_PROJECT = (
    "c.project_key IN (SELECT key FROM projects WHERE path = :project"
    " OR name = :project COLLATE NOCASE OR path LIKE :project_like ESCAPE '\\')"
)
# Of f, which has the text, m, which is shown, and the conversation c of m.
CONDITIONS = {
    "project": IN_PROJECT,
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
# The messages that have the texts of conversations: their own, and the originals of their copies.
_TEXTS_OF = """
    SELECT key FROM messages WHERE conversation_key {these}
    UNION ALL SELECT copy_of_key FROM messages
    WHERE conversation_key {these} AND copy_of_key IS NOT NULL
"""
_TEXTS_OF_ONE = _TEXTS_OF.format(these="= :conversation_key")


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
    request: SearchRequest,
    *,
    scope: Scope,
    newest_first: bool = False,
    ceiling: int | None = None,
) -> Matches:
    """Return the messages that match, in order.

    Args:
        request: What to search for; words or a filter at least.
        scope: Whose conversations are there at all.
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
    parts = list_parts() if parsed.match else []
    rows, is_exact = _find(parsed, request, ceiling, parts, scope=scope, is_ranked=not newest_first)
    # They come so, mostly. Both sorts leave what is equal in this order.
    rows.sort(key=itemgetter(0), reverse=True)
    if newest_first:
        rows.sort(key=itemgetter(3), reverse=True)
    else:
        rows.sort(key=itemgetter(1))
    return Matches(parsed, request, parts, rows, is_exact, ceiling)


def read_column(keys: Iterable[int], column: str) -> dict[int, Any]:
    """Return one column of ``messages`` by key.

    As one row: after each row Python's lock is given back and waited for, a thousand times.
    """
    row = fetch_one(
        f"SELECT json_group_array(m.key), json_group_array(m.{column}) FROM json_each(?) w"
        " CROSS JOIN messages m ON m.key = w.value",
        (orjson.dumps(list(keys)).decode(),),
    )
    assert row is not None
    return dict(zip(*map(orjson.loads, row), strict=True))


def _has_trash() -> bool:
    sql = "SELECT EXISTS (SELECT 1 FROM conversations WHERE deleted_at IS NOT NULL)"
    return fetch_one(sql) == (1,)


def filter_values(request: SearchRequest) -> dict[str, Any]:
    """Return what the conditions of the filters take."""
    values = asdict(request)
    for name in ("project", "model"):
        values[f"{name}_like"] = f"%{_escape_like(values[name] or '')}%"
    return values


def _find(
    query: ParsedQuery,
    request: SearchRequest,
    ceiling: int,
    parts: list[Part],
    *,
    scope: Scope,
    is_ranked: bool,
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows of candidates, and whether these are all that match."""
    values = filter_values(request) | {
        "match": query.match,
        "floor": 0,
        "ceiling": ceiling,
        "examined": EXAMINED,
        "limit": CANDIDATES + 1,
    }
    conditions = [sql for name, sql in CONDITIONS.items() if values[name] is not None]
    is_within = request.conversation_id is not None
    has_hidden = _has_trash() or not scope.is_whole
    if is_within and not _enter_conversation(values, scope):
        return [], True
    texts = _TEXTS_OF_ONE if is_within else _few_texts(scope)
    if not conditions and not has_hidden and not is_within:
        # Nothing to look up: what FTS5 gives is the answer.
        form = _form(is_ranked=is_ranked)
    else:
        shown = "f.key"
        if is_within:
            shown = _SHOWN.format(there="d.key = :conversation_key")
        elif has_hidden:
            shown = _SHOWN.format(there=f"d.deleted_at IS NULL{scope.and_among('d')}")
        form = _form(
            is_ranked=is_ranked,
            bound="examined",
            shown="m.key",
            joins=f" CROSS JOIN messages m ON m.key = {shown}"
            " CROSS JOIN conversations c ON c.key = m.conversation_key",
            end=f" WHERE {' AND '.join(conditions) or 'true'} LIMIT +:limit",
        )
    is_whole = not conditions and not has_hidden
    try:
        sources = _list_sources(parts, values, texts, is_ranked=is_ranked)
        read = fetch_all if is_ranked else _read_newest
        found, is_exact = _find_in_turn(read, form, values, sources, is_whole=is_whole)
        if is_ranked and len(found) > 1:
            is_all = query.is_one_term and is_whole and not is_within
            weigh_alike(found, query.terms, is_all=is_all)
        return [row for rows in found.values() for row in rows], is_exact
    except DatabaseError as error:
        if "fts5" in str(error) or "malformed MATCH" in str(error):
            raise InvalidParameter("q", "This can not be searched for; use fewer signs.") from error
        raise


def _list_sources(
    parts: list[Part], values: dict[str, Any], texts: str | None, *, is_ranked: bool
) -> Iterator[tuple[str, str]]:
    """Yield tables, the newest first, and what gives the messages in them: all, without words."""
    if not parts:
        within = f" AND key IN ({texts})" if texts else ""
        yield (
            "messages",
            "SELECT key, 0.0 AS rank FROM messages WHERE key BETWEEN :floor AND :ceiling"
            f" AND copy_of_key IS NULL{within} ORDER BY key DESC",
        )
    for part in reversed(parts):
        if part.first <= values["ceiling"] and part.last >= values["floor"]:
            yield part.table, _source(part.table, texts=texts, is_ranked=is_ranked)


def _form(
    *,
    is_ranked: bool,
    bound: str = "limit",
    shown: str = "f.key",
    joins: str = "",
    end: str = "",
) -> str:
    """Return the statement that gives the values of candidates of a ``{source}``.

    Newest first their times are among them, and all of a kind are in one list as JSON: after each
    row Python's lock is given back and waited for, and keys need not be handed over once more.
    """
    source = f"({{source}} LIMIT +:{bound}) f{joins}"
    if is_ranked:
        return f"SELECT f.key, f.rank, {shown} FROM {source}{end}"
    return (
        "SELECT json_group_array(key), json_group_array(shown), json_group_array(time) FROM ("
        f"SELECT f.key, {shown} AS shown, t.created_at AS time"
        f" FROM {source} CROSS JOIN messages t ON t.key = f.key{end})"
    )


def _read_newest(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that gives lists."""
    [lists] = fetch_all(sql, values)
    keys, shown, times = map(orjson.loads, lists)
    return list(zip(keys, [0.0] * len(keys), shown, times, strict=True))


def _find_in_turn(
    read: Callable[[str, dict[str, Any]], list[tuple[Any, ...]]],
    form: str,
    values: dict[str, Any],
    sources: Iterable[tuple[str, str]],
    *,
    is_whole: bool,
) -> tuple[dict[str, list[tuple[Any, ...]]], bool]:
    """Return the candidates by the table that has them, and whether these are all that match.

    What is found everywhere is found in the newest parts, so the others are not asked.
    """
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table, source in sources:
        rows = read(form.format(source=source), values)
        if len(rows) >= values["limit"]:
            found[table] = rows[:-1]
            return found, False
        if rows:
            found[table] = rows
            values["limit"] -= len(rows)
        if not is_whole:
            values["examined"] -= _count_examined(source, values)
            if values["examined"] < 0:
                return found, False
    return found, True


def _enter_conversation(values: dict[str, Any], scope: Scope) -> bool:
    """Bound a search by the texts of one conversation; tell whether it is there and has some."""
    conversation = fetch_one(
        "SELECT key FROM conversations WHERE id = :conversation_id AND deleted_at IS NULL"
        + scope.and_there("conversations"),
        values,
    )
    values["conversation_key"] = conversation[0] if conversation else None
    [(first, last)] = fetch_all(f"SELECT min(key), max(key) FROM ({_TEXTS_OF_ONE})", values)
    if first is None:
        return False
    values |= {"floor": first, "ceiling": min(values["ceiling"], last)}
    return True


def _few_texts(scope: Scope) -> str | None:
    """Return what gives the messages to look at when few are there, or ``None``."""
    if scope.only is None:
        return None
    more = fetch_one(
        "SELECT 1 FROM conversations c CROSS JOIN messages m ON m.conversation_key = c.key"
        f" WHERE {scope.condition('c.project_key')} AND c.deleted_at IS NULL LIMIT 1 OFFSET {FEW}"
    )
    there = f"SELECT c.key FROM conversations c WHERE c.deleted_at IS NULL{scope.and_among('c')}"
    return None if more else _TEXTS_OF.format(these=f"IN ({there})")


def _source(table: str, *, texts: str | None, is_ranked: bool) -> str:
    """Return the statement that gives key and rank of what matches in a part, newest first.

    Args:
        table: The part of the index.
        texts: A statement that gives the only messages to look at.
        is_ranked: Whether the rank is asked for.
    """
    # bm25 and the walk in the order of keys are FTS5's; the bound keeps both short. To weigh a
    # word, bm25 counts all its matches: only where the order asks for it. With the plus, SQLite
    # does not hand the keys to FTS5, which would search for each of them.
    return (
        f"SELECT rowid AS key, {f'bm25({table})' if is_ranked else '0.0'} AS rank"
        f" FROM {table} WHERE {table} MATCH :match AND rowid BETWEEN :floor AND :ceiling"
        f"{f' AND +rowid IN ({texts})' if texts else ''} ORDER BY rowid DESC"
    )


def _count_examined(source: str, values: dict[str, Any]) -> int:
    """Return how many messages match in a source, up to one more than may be looked at."""
    row = fetch_one(f"SELECT count(*) FROM ({source} LIMIT +:examined + 1)", values)
    assert row is not None
    return int(row[0])


def _escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
