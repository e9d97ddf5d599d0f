"""What the numbers of a conversation are made of: each response, and the lines that told of it.

A line's own numbers are not kept, only where the numbers of its response came from: which file, and
the last line there. Where that does not tell the one line, none is named.

A response that was had in common with a conversation which was removed for good is told as if it
had been read from here, though its numbers may be those of the copy that went.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from observatory.errors import NotFound
from observatory.store.conversation_documents import cost
from observatory.store.database import fetch_all, fetch_one
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.store.scopes import Scope

_ORDER = "reconcile"
_ORDER_OF_OTHERS = "reconcile-not-counted"
# Why these are the numbers of a response.
REASONS = {
    "only_line": "One line tells of it, and its numbers count.",
    "last_line": "Of its lines in this file the last one has the final numbers.",
    "copies_not_larger": "Its last line in this file counts: no copy elsewhere had more output.",
    "larger_copy": "A copy in another file had the most output, so the numbers are that file's.",
    "superseded": "The file was rewritten and no longer holds the line whose numbers count.",
    "rewritten": "The file was rewritten and its lines moved; which one counts is not kept.",
    "file_forgotten": "The file was forgotten; what was read of it counts as it was.",
    "not_kept": "Which of its lines has the numbers that count is not kept.",
    "written_through_api": "It was written through the API, with these numbers.",
}
# Why a response belongs to its conversation.
OWNERS = {
    "only_conversation": "No other conversation has a line of it.",
    "session_not_subagent": "A subagent has lines of it, too; it belongs to the session.",
    "first_read": "Others have copies of it; it belongs to the one that was read first.",
}
# Why a line that looks like a response is none that is counted here.
OMISSIONS = {
    "api_error": "The client wrote it down as an error of the API, which costs nothing.",
    "synthetic": "The client wrote it itself (model <synthetic>), without a response.",
    "copy": "It is a copy; the response is counted in another conversation.",
    "counted_in_session": "The response is counted in the session, which has it, too.",
    "counted_elsewhere": "The response is counted in another conversation, which has it, too.",
    "no_usage": "It came without numbers of tokens.",
}
_KINDS = (
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
)  # fmt: skip
_PARTS = (
    "cache_creation_5m_input_tokens", "cache_creation_1h_input_tokens", "web_search_requests",
)  # fmt: skip
_COUNTERS = (
    "api_call_count", "unpriced_call_count", "undercounted_call_count", *_KINDS, "total_tokens",
    "cost_nanodollars",
)  # fmt: skip
# Its counters, then the same from its responses, in one statement: of one moment.
_CONVERSATION = f"""
    SELECT c.key, {", ".join(f"c.{name}" for name in _COUNTERS)},
        count(a.key), count(a.key) - count(a.cost_nanodollars),
        coalesce(sum(a.usage_quality = 'undercounted'), 0),
        {", ".join(f"coalesce(sum(a.{name}), 0)" for name in _KINDS)},
        coalesce(sum({" + ".join(f"a.{name}" for name in _KINDS)}), 0),
        coalesce(sum(a.cost_nanodollars), 0),
        {", ".join(f"coalesce(sum(a.{name}), 0)" for name in _PARTS)}
    FROM conversations c LEFT JOIN api_calls a ON a.conversation_key = c.key
    WHERE c.id = ? AND c.deleted_at IS NULL"""
_CALL = (
    "key", "position", "id", "request_id", "model", "created_at", "stop_reason", *_KINDS, *_PARTS,
    "is_fast", "cost_nanodollars", "usage_quality", "conversation_key", "file_key",
    "usage_file_key", "message_key",
)  # fmt: skip
_CALLS = f"""
    SELECT {", ".join(_CALL)} FROM api_calls
    WHERE conversation_key = :conversation AND (position, key) > (:position, :key)
    ORDER BY position, key LIMIT :limit OFFSET :offset
"""
_LINES = """
    SELECT m.api_call_key, m.key, m.id, m.position, m.kind, m.is_superseded, m.copy_of_key,
        m.file_key, f.filename, f.generation, m.conversation_key, c.id, c.kind, c.source,
        c.deleted_at IS NULL{and_there}
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    LEFT JOIN transcript_files f ON f.key = m.file_key
    WHERE m.api_call_key IN (SELECT value FROM json_each(?))
    ORDER BY m.conversation_key, m.position, m.key
"""
# Where the response is counted is told only when that conversation is there.
_OTHERS = """
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    LEFT JOIN transcript_files f ON f.key = m.file_key
    LEFT JOIN api_calls a ON a.key = m.api_call_key
    LEFT JOIN conversations o ON o.key = a.conversation_key AND o.deleted_at IS NULL{and_there}
    WHERE m.conversation_key = :conversation AND m.role = 'assistant'
        AND a.conversation_key IS NOT m.conversation_key
"""
_WHY = """
    CASE WHEN a.key IS NOT NULL THEN
            CASE WHEN m.copy_of_key IS NOT NULL THEN 'copy'
                WHEN c.kind = 'subagent' AND o.kind = 'session' THEN 'counted_in_session'
                ELSE 'counted_elsewhere' END
        WHEN m.kind = 'api_error' THEN 'api_error'
        WHEN m.model = '<synthetic>' THEN 'synthetic'
        ELSE 'no_usage' END
"""
_OTHER_LINES = f"""
    SELECT m.position, m.key, m.id, m.kind, m.model, m.file_key, f.filename, c.source,
        {_WHY}, o.id, CASE WHEN o.key IS NOT NULL THEN a.id END
    {_OTHERS}
        AND (m.position, m.key) > (:position, :key)
    ORDER BY m.position, m.key LIMIT :limit
"""


class Reconciliation(NamedTuple):
    """A page of a conversation's responses, and what stands beside it."""

    page: Page
    others: dict[str, Any]


class _Line(NamedTuple):
    """A line that told of a response."""

    call_key: int
    key: int
    id: str
    position: int
    kind: str
    is_superseded: int
    copy_of_key: int | None
    file_key: int | None
    filename: str | None
    generation: int | None
    conversation_key: int
    conversation_id: str
    conversation_kind: str
    source: str
    is_there: int | None


def reconcile_conversation(
    conversation_id: str,
    *,
    scope: Scope,
    limit: int = 50,
    offset: int = 0,
    cursor: str | None = None,
    not_counted_cursor: str | None = None,
) -> Reconciliation:
    """Return what the numbers of a conversation are made of: a page of responses, and the sums.

    Args:
        conversation_id: The conversation.
        scope: Whose conversations are there at all.
        limit: Largest number of responses, and of lines that are not counted, 1 to 100.
        offset: How many responses to pass over; 0 with a cursor.
        cursor: The place after which to go on; ``None`` starts at the first response.
        not_counted_cursor: The same for the lines that are not counted.

    Raises:
        NotFound: There is no such conversation.
        InvalidParameter: A cursor is not from its list.
    """
    row = fetch_one(
        f"{_CONVERSATION}{scope.and_there('c')} GROUP BY c.key",
        (conversation_id,),
    )
    if row is None:
        raise NotFound("conversation", conversation_id)
    key, counters = row[0], row[1 : 1 + len(_COUNTERS)]
    sums, parts = row[1 + len(_COUNTERS) : -len(_PARTS)], row[-len(_PARTS) :]
    page = _list_calls(key, sums[0], scope=scope, limit=limit, offset=offset, cursor=cursor)
    others = {
        "conversation_id": conversation_id,
        "matches_conversation": sums == counters,
        "totals": {**_totals(sums), **dict(zip(_PARTS, parts, strict=True))},
        "conversation": _totals(counters),
        "not_counted": _list_not_counted(key, scope=scope, limit=limit, cursor=not_counted_cursor),
    }
    return Reconciliation(page, others)


def _totals(numbers: tuple[int, ...]) -> dict[str, Any]:
    totals: dict[str, Any] = dict(zip(_COUNTERS, numbers, strict=True))
    calls, unpriced = totals["api_call_count"], totals["unpriced_call_count"]
    return {**totals, **cost(totals["cost_nanodollars"], calls=calls, unpriced=unpriced)}


def _list_calls(
    conversation_key: int, total: int, *, scope: Scope, limit: int, offset: int, cursor: str | None
) -> Page:
    position, key = -1, -1
    if cursor is not None:
        position, key = decode_cursor(cursor, order=_ORDER, types=(int, int))
    values = {
        "conversation": conversation_key,
        "position": position,
        "key": key,
        "limit": limit + 1,
        "offset": offset,
    }
    calls = [dict(zip(_CALL, row, strict=True)) for row in fetch_all(_CALLS, values)]
    lines = _find_lines((call["key"] for call in calls), scope)
    return make_page(
        [_call(call, lines[call["key"]]) for call in calls],
        [(call["position"], call["key"]) for call in calls],
        order=_ORDER,
        total=total,
        limit=limit,
        offset=offset,
    )


def _find_lines(call_keys: Iterable[int], scope: Scope) -> dict[int, list[_Line]]:
    """Return all lines of some responses, by the response, also those that are not there."""
    lines: dict[int, list[_Line]] = defaultdict(list)
    sql = _LINES.format(and_there=scope.and_there("c"))
    for row in fetch_all(sql, (orjson.dumps(list(call_keys)).decode(),)):
        lines[row[0]].append(_Line(*row))
    return lines


def _call(call: dict[str, Any], lines: list[_Line]) -> dict[str, Any]:
    reason, counted = _find_reason(call, lines)
    owner = _find_owner(call, lines)
    shown = [line for line in lines if line.is_there]
    nanodollars = call["cost_nanodollars"]
    return {
        "id": call["id"],
        "request_id": call["request_id"],
        "model": call["model"],
        "created_at": call["created_at"],
        "stop_reason": call["stop_reason"],
        **{name: call[name] for name in (*_KINDS, *_PARTS)},
        "is_fast": bool(call["is_fast"]),
        "cost_nanodollars": nanodollars,
        **cost(nanodollars or 0, calls=1, unpriced=int(nanodollars is None)),
        "usage_quality": call["usage_quality"],
        "reason": reason,
        "explanation": REASONS[reason],
        "owner": owner,
        "owner_explanation": OWNERS[owner],
        "lines": [_line(line, _does_count(line, call, counted)) for line in shown],
        "hidden_lines": len(lines) - len(shown),
    }


def _find_reason(call: dict[str, Any], lines: list[_Line]) -> tuple[str, int | None]:
    """Return why a response has its numbers, and the line that they stand on, where that is known.

    The last line in its own file is the one that was counted last. In a file that was rewritten
    lines move: then it is known when that line stands where it stood as it was counted.
    """
    if lines and all(line.source == "api" for line in lines):
        return "written_through_api", call["message_key"]
    if call["usage_file_key"] is None:
        return "file_forgotten", _find_only(lines)
    from_file = [line for line in lines if line.file_key == call["usage_file_key"]]
    alone = _find_only(from_file)
    if call["usage_file_key"] != call["file_key"]:
        return "larger_copy", alone
    last = next((line for line in from_file if line.key == call["message_key"]), None)
    if last is None or (alone is None and last.position != call["position"]):
        is_rewritten = any((line.generation or 1) > 1 for line in from_file)
        return "rewritten" if is_rewritten else "not_kept", alone
    if last.is_superseded:
        is_gone = all(line.is_superseded for line in from_file)
        return ("superseded", last.key) if is_gone else ("rewritten", None)
    if len(lines) == 1:
        return "only_line", last.key
    is_here_alone = len(from_file) == len(lines)
    return "last_line" if is_here_alone else "copies_not_larger", last.key


def _find_only(lines: list[_Line]) -> int | None:
    return lines[0].key if len(lines) == 1 else None


def _does_count(line: _Line, call: dict[str, Any], counted: int | None) -> bool | None:
    """Tell whether a line has the numbers that count; ``None`` when it may be this one."""
    if counted is not None:
        return line.key == counted
    return None if line.file_key == call["usage_file_key"] else False


def _find_owner(call: dict[str, Any], lines: list[_Line]) -> str:
    kinds = {line.conversation_key: line.conversation_kind for line in lines}
    own = kinds.pop(call["conversation_key"], None)
    if not kinds:
        return "only_conversation"
    is_moved = own == "session" and "subagent" in kinds.values()
    return "session_not_subagent" if is_moved else "first_read"


def _line(line: _Line, counts: bool | None) -> dict[str, Any]:
    return {
        "message_id": line.id,
        "conversation_id": line.conversation_id,
        **_place(line.source, line.position, line.file_key, line.filename),
        "kind": line.kind,
        "is_counted": counts,
        "is_copy": line.copy_of_key is not None,
        "is_superseded": bool(line.is_superseded),
    }


def _place(
    source: str, position: int, file_key: int | None, filename: str | None
) -> dict[str, Any]:
    """Return where a line stands: in no file when a client wrote it, or the file was forgotten."""
    return {
        "file_id": file_key,
        "file": filename,
        "line": None if source == "api" else position,
    }


def _list_not_counted(
    conversation_key: int, *, scope: Scope, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return how many lines look like responses and are not counted here, by why, and some."""
    position, key = -1, -1
    if cursor is not None:
        position, key = decode_cursor(
            cursor, order=_ORDER_OF_OTHERS, types=(int, int), field="not_counted_cursor"
        )
    there = scope.and_there("o")
    counts = fetch_all(
        f"SELECT {_WHY}, count(*) {_OTHERS.format(and_there=there)} GROUP BY 1 ORDER BY 1",
        {"conversation": conversation_key},
    )
    rows = fetch_all(
        _OTHER_LINES.format(and_there=there),
        {"conversation": conversation_key, "position": position, "key": key, "limit": limit + 1},
    )
    page = make_page(
        [_other_line(row) for row in rows],
        [row[:2] for row in rows],
        order=_ORDER_OF_OTHERS,
        total=sum(number for _, number in counts),
        limit=limit,
        offset=0,
    )
    return {
        "total": page.total,
        "reasons": [
            {"reason": why, "explanation": OMISSIONS[why], "count": number}
            for why, number in counts
        ],
        "lines": page.rows,
        "next_cursor": page.next_cursor,
    }


def _other_line(row: tuple[Any, ...]) -> dict[str, Any]:
    position, _, identifier, kind, model, file_key, filename, source, why, counted_in, call = row
    return {
        "message_id": identifier,
        **_place(source, position, file_key, filename),
        "kind": kind,
        "model": model,
        "reason": why,
        "counted_in": counted_in,
        "api_call_id": call,
    }
