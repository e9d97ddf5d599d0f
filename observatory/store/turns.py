"""Turns: what a conversation consists of, each prompt with all that follows until the next one."""

from __future__ import annotations

from typing import Any

import orjson

from observatory.errors import NotFound
from observatory.store.conversation_documents import cost
from observatory.store.conversations import find_key
from observatory.store.database import fetch_all
from observatory.store.message_places import find_place
from observatory.store.pages import Page, make_page
from observatory.store.scopes import Scope

TEXT_CHARACTERS = 300
TOKEN_KINDS = (
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
)  # fmt: skip
# A command begins a turn when it is answered by the model, as /init is and /clear is not.
_TURNS = """
    WITH said AS (
        SELECT m.key, m.role, m.created_at, m.api_call_key, coalesce(m.copy_of_key, m.key) AS text,
            row_number() OVER through AS place,
            m.kind IN ('prompt', 'queued_prompt', 'command') AS begins,
            sum(m.kind IN ('prompt', 'queued_prompt', 'command')) OVER through AS turn
        FROM messages m
        WHERE m.conversation_key = :conversation AND (m.position, m.key) >= (:position, :key)
        WINDOW through AS (ORDER BY m.position, m.key ROWS UNBOUNDED PRECEDING)
    )
    SELECT max(CASE WHEN s.begins OR s.place = 1 THEN s.key END), count(*), min(s.created_at),
        max(s.created_at), sum(s.role = 'assistant'), count(a.key),
        coalesce(sum(a.input_tokens), 0), coalesce(sum(a.output_tokens), 0),
        coalesce(sum(a.cache_creation_input_tokens), 0),
        coalesce(sum(a.cache_read_input_tokens), 0), coalesce(sum(a.cost_nanodollars), 0),
        count(a.key) - count(a.cost_nanodollars),
        coalesce(sum(CASE WHEN s.role = 'assistant' THEN
            (SELECT count(*) FROM tool_uses t WHERE t.message_key = s.text) END), 0),
        coalesce(sum(CASE WHEN s.role = 'assistant' THEN
            (SELECT sum(t.is_error) FROM tool_uses t WHERE t.message_key = s.text) END), 0)
    FROM said s LEFT JOIN api_calls a ON a.key = s.api_call_key AND a.message_key = s.key
    GROUP BY s.turn ORDER BY s.turn
"""
_FIRST = f"""
    SELECT m.key, m.position, m.id, m.kind, substr(coalesce(o.content, m.content), 1,
        {TEXT_CHARACTERS}), m.is_on_main_branch
    FROM messages m LEFT JOIN messages o ON o.key = m.copy_of_key
    WHERE m.key IN (SELECT value FROM json_each(?))
"""
_COUNTED = slice(4, None)


def list_turns(
    conversation_id: str,
    *,
    scope: Scope,
    limit: int = 1000,
    offset: int = 0,
    since: str | None = None,
) -> Page:
    """Return one page of a conversation's turns, in transcript order.

    Args:
        conversation_id: The conversation.
        scope: Whose conversations are there at all.
        limit: Largest number of rows, 1 to 1,000.
        offset: How many turns to pass over.
        since: The message that the first turn begins with; ``None`` for all turns.

    Raises:
        NotFound: There is no such conversation, or no such message in it.
    """
    conversation_key = find_key(conversation_id, scope=scope)
    if conversation_key is None:
        raise NotFound("conversation", conversation_id)
    passed, position, key = 0, -1, -1
    if since is not None:
        passed, position, key = find_place(since, conversation_key)
    values = {"conversation": conversation_key, "position": position, "key": key}
    turns = _read_turns(values)
    page = turns[offset : offset + limit + 1]
    rows = _as_rows(page, passed + sum(turn[1] for turn in turns[:offset]))
    return make_page(
        rows,
        [()] * len(rows),
        order="turns",
        total=len(turns),
        limit=limit,
        offset=offset,
        has_cursors=False,
    )


def _read_turns(values: dict[str, int]) -> list[list[Any]]:
    """Return the sums of each turn; what begins none belongs to the one before."""
    turns: list[list[Any]] = []
    found = fetch_all(_TURNS, values)
    kinds = _read_first(row[0] for row in found)
    for row in found:
        is_answered = kinds[row[0]][2] != "command" or row[4]
        if is_answered or not turns:
            turns.append(list(row))
            continue
        before = turns[-1]
        before[1] += row[1]
        before[3] = max(before[3], row[3])
        before[_COUNTED] = [a + b for a, b in zip(before[_COUNTED], row[_COUNTED], strict=True)]
    return turns


def _read_first(keys: Any) -> dict[int, tuple[Any, ...]]:
    rows = fetch_all(_FIRST, (orjson.dumps(list(keys)).decode(),))
    return {row[0]: row[1:] for row in rows}


def _as_rows(turns: list[list[Any]], passed: int) -> list[dict[str, Any]]:
    rows = []
    firsts = _read_first(turn[0] for turn in turns)
    for key, messages, started_at, finished_at, _, calls, *counted in turns:
        _, identifier, kind, text, is_on_main_branch = firsts[key]
        *tokens, nanodollars, unpriced, tool_uses, errors = counted
        rows.append(
            {
                "message_id": identifier,
                "offset": passed,
                "kind": kind,
                "text": text,
                "is_on_main_branch": bool(is_on_main_branch),
                "message_count": messages,
                "started_at": started_at,
                "finished_at": finished_at,
                "api_call_count": calls,
                "usage": dict(zip(TOKEN_KINDS, tokens, strict=True)),
                "total_tokens": sum(tokens),
                **cost(nanodollars, calls=calls, unpriced=unpriced),
                "tool_use_count": tool_uses,
                "error_count": errors,
            }
        )
        passed += messages
    return rows
