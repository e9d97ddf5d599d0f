"""Whole pages of messages, written as JSON out of pieces that SQLite makes.

A dict for each message, of all its columns, takes as long to make, to write and to free again as
SQLite takes to read them. Here SQLite writes what stands before, between and behind the text of a
message and its tool calls, and the pieces are joined. What comes out is byte for byte what
``list_messages`` and orjson make; that is for pages of which only a part is wanted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from orjson import Fragment, dumps

from observatory.store.database import sqlite_version
from observatory.store.message_rows import (
    BLOCKS,
    CALLS,
    CONTENT,
    JOINS,
    METADATA,
    ORDER,
    TEXT_KEY,
    TOKEN_COUNT,
    Place,
    copied_from,
    find_page,
    page_of,
    read_rows,
    read_texts,
    read_uses,
)
from observatory.store.pages import Page, encode_cursor
from observatory.store.scopes import Scope
from observatory.store.tool_uses import shown_status

# Older ones have no ``concat``.
CAN_WRITE = sqlite_version() >= (3, 44)

_LENGTH = ',"content_length":'
_CALL = """
    CAST(concat('{"id":', json_quote(tool_use_id), ',"type":"function","function":{"name":',
        json_quote(name), ',"arguments":', coalesce(parameters, 'null'), '},"result":') AS BLOB)
"""


@lru_cache(maxsize=64)
def _page(scope: Scope, *, has_copies: bool = True) -> str:
    key, text, blocks, original, joins = "m.key", "m.content", "m.blocks", "NULL", CALLS
    if has_copies:
        key, text, blocks, original, joins = TEXT_KEY, CONTENT, BLOCKS, copied_from(scope), JOINS
    # What may hold anything is quoted; times, and what the schema lists, need not be.
    columns = f"""
        {key}, m.role = 'assistant', {text},
        CAST(concat('{{"id":', json_quote(m.id), ',"conversation_id":', :conversation_id,
            ',"position":', m.position, ',"role":"', m.role, '","kind":', json_quote(m.kind),
            ',"content":') AS BLOB),
        CAST(concat('{_LENGTH}', octet_length({text}),
            ',"blocks":', coalesce({blocks}, 'null'), ',"timestamp":"', m.created_at,
            '","token_count":', {TOKEN_COUNT}, ',"tool_calls":[') AS BLOB),
        CAST(concat('],"parent_id":', json_quote(m.parent_id),
            ',"copied_from":', json_quote({original}),
            ',"is_on_main_branch":', iif(m.is_on_main_branch, 'true', 'false'),
            ',"is_superseded":', iif(m.is_superseded, 'true', 'false'),
            ',"metadata":', {METADATA}, '}}') AS BLOB),
        m.position, m.key
    """
    return page_of(columns, joins=joins)


def write_messages(
    conversation_id: str,
    *,
    scope: Scope,
    limit: int,
    offset: int,
    cursor: str | None,
    around: str | None,
) -> Page:
    """Return one page of a conversation's messages with its rows as one piece of JSON.

    The arguments are those of ``list_messages``.

    Raises:
        NotFound: There is no such conversation, or no such message in it.
        InvalidParameter: The cursor is not from this list.
    """
    place = find_page(
        conversation_id, scope=scope, limit=limit, offset=offset, cursor=cursor, around=around
    )
    rows = read_rows(
        _page(scope, has_copies=place.has_copies),
        place,
        limit=limit,
        conversation_id=dumps(conversation_id).decode(),
    )
    calls, results = _write_calls(rows, place, scope)
    has_more = len(rows) > limit
    shown = rows[:limit]
    return Page(
        rows=Fragment(_write_rows(shown, calls, results)),
        total=place.total,
        limit=limit,
        offset=place.offset,
        has_more=has_more,
        next_cursor=encode_cursor(ORDER, shown[-1][-2:]) if has_more else None,
    )


def _write_calls(
    rows: list[tuple[Any, ...]], place: Place, scope: Scope
) -> tuple[dict[int, list[bytes]], dict[int, bytes]]:
    """Return the tool calls of messages, and the texts that they were answered with, both by key.

    What a tool gave back stands in its message and again in the call that asked for it.
    """
    texts = {row[0]: row[2] for row in rows}
    uses = read_uses(
        [row[0] for row in rows if row[1]],
        has_copies=place.has_copies and any(row[0] != row[7] for row in rows),
        conversation_key=place.conversation_key,
        scope=scope,
        shown=_CALL,
    )
    missing = {use[5] for use in uses if use[4] is None and use[5] is not None} - texts.keys()
    if missing:
        texts |= read_texts(missing)
    calls: dict[int, list[bytes]] = {}
    results: dict[int, bytes] = {}
    for key, _, status, started_at, text, told, ms, head in uses:
        if text is None and told is not None:
            text = texts[told]
            result = results[told] = results.get(told) or dumps(text)
        else:
            result = dumps(text)
        length = "null" if text is None else len(text)
        end = (
            f',"result_length":{length},"execution_time_ms":{"null" if ms is None else ms}'
            f',"status":"{shown_status(status, started_at)}"}}'
        )
        before = calls.setdefault(key, [])
        before += (b"," if before else b"", head, result, end.encode())
    return calls, results


def _write_rows(
    rows: list[tuple[Any, ...]], calls: dict[int, list[bytes]], results: dict[int, bytes]
) -> bytes:
    pieces = [b"["]
    for key, _is_assistant, text, head, middle, end, _position, _key in rows:
        if not text.isascii():
            # What SQLite has counted are bytes.
            middle = f"{_LENGTH}{len(text)}".encode() + middle[middle.index(b",", 1) :]
        if key in calls:
            pieces += (head, dumps(text), middle, *calls[key], end, b",")
        else:
            pieces += (head, results.get(key) or dumps(text), middle, end, b",")
    if rows:
        pieces.pop()
    pieces.append(b"]")
    return b"".join(pieces)
