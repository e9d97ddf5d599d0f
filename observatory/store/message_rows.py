"""Rows of messages and of what they called: what all forms of a page are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from observatory.errors import NotFound
from observatory.store.database import fetch_all, fetch_one
from observatory.store.message_places import find_place, find_start
from observatory.store.pages import decode_cursor
from observatory.store.scopes import Scope
from observatory.store.tool_uses import find_hidden_texts
from observatory.timestamps import milliseconds_between

ORDER = "messages"


def _setting(name: str) -> str:
    """Return SQL of what only clients of the API tell of a message; transcripts do not have it."""
    return f"CASE WHEN NOT instr(m.notes, '\"subtype\"') THEN m.notes -> '$.{name}' END"


# Made by SQLite: that takes half of what it takes to hand over the columns and make it here.
_PROMPT = "a.input_tokens + a.cache_creation_input_tokens + a.cache_read_input_tokens"
_USAGE = f"""
    json_object(
        'prompt_tokens', {_PROMPT}, 'completion_tokens', a.output_tokens,
        'total_tokens', {_PROMPT} + a.output_tokens,
        'input_tokens', a.input_tokens, 'output_tokens', a.output_tokens,
        'cache_creation_input_tokens', a.cache_creation_input_tokens,
        'cache_read_input_tokens', a.cache_read_input_tokens,
        -- Rounded as Python does: halves to the even number.
        'cost_microdollars',
        (a.cost_nanodollars + 500 - (a.cost_nanodollars % 2000 = 500)) / 1000,
        'usage_quality', a.usage_quality)
"""


def _metadata(*, stop_reason: str, temperature: str, max_tokens: str, notes: str) -> str:
    return f"""
        json_object(
            'model', m.model, 'temperature', {temperature}, 'max_tokens', {max_tokens},
            'stop_reason', {stop_reason},
            'api_call_id', a.id, 'usage', CASE WHEN a.message_key = m.key THEN {_USAGE} END,
            'cwd', m.cwd, 'git_branch', m.git_branch, 'version', m.client_version,
            'notes', {notes})
    """


_STOP_REASON = "nullif(a.stop_reason, '')"
_BARE = _metadata(stop_reason=_STOP_REASON, temperature="NULL", max_tokens="NULL", notes="NULL")
_NOTED = _metadata(
    stop_reason=f"coalesce({_STOP_REASON}, {_setting('stop_reason')})",
    temperature=_setting("temperature"),
    max_tokens=_setting("max_tokens"),
    notes="json(m.notes)",
)
# Most have no notes, which is asked once.
METADATA = f"CASE WHEN m.notes IS NULL THEN {_BARE} ELSE {_NOTED} END"
TOKEN_COUNT = f"CASE WHEN a.message_key = m.key THEN {_PROMPT} + a.output_tokens ELSE 0 END"
# The key of the message that has the text, and what it called: the original of a copy.
TEXT_KEY = "coalesce(m.copy_of_key, m.key)"
CONTENT = "coalesce(o.content, m.content)"
BLOCKS = "coalesce(o.blocks, m.blocks)"
CALLS = "LEFT JOIN api_calls a ON a.key = m.api_call_key"
JOINS = f"LEFT JOIN messages o ON o.key = m.copy_of_key {CALLS}"
_CONVERSATION = """
    SELECT key, message_count, EXISTS (
        SELECT 1 FROM messages m INDEXED BY messages_copies
        WHERE m.conversation_key = conversations.key AND m.copy_of_key IS NOT NULL)
    FROM conversations WHERE id = ? AND deleted_at IS NULL
"""
_USES = """
    SELECT message_key, tool_use_id, status, started_at, result, result_message_key,
        execution_time_ms, {shown}
    FROM tool_uses WHERE message_key IN (SELECT value FROM json_each(?)) ORDER BY message_key, key
"""
# Results in a conversation whose tool use was copied from another one, which has its own.
_OWN_RESULTS = """
    SELECT tool_use_id, status, result, result_message_key, finished_at
    FROM tool_uses WHERE conversation_key = ? AND message_key IS NULL
"""


def copied_from(scope: Scope) -> str:
    """Return SQL of the id of a copy's original, when the conversation of that is there."""
    if scope.is_whole:
        return "o.id"
    return (
        "(SELECT o.id FROM conversations oc WHERE oc.key = o.conversation_key"
        f"{scope.and_there('oc')})"
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins; ``start`` is ``None`` where nothing is left.

    ``has_copies`` tells whether any message of the conversation is a copy.
    """

    conversation_key: int
    total: int
    has_copies: bool
    offset: int
    start: tuple[Any, ...] | None


def find_page(
    conversation_id: str,
    *,
    scope: Scope,
    limit: int,
    offset: int,
    cursor: str | None,
    around: str | None,
) -> Place:
    """Return where a page of a conversation begins.

    Raises:
        NotFound: There is no such conversation, or no such message in it.
        InvalidParameter: The cursor is not from this list.
    """
    found = fetch_one(_CONVERSATION + scope.and_there("conversations"), (conversation_id,))
    if found is None:
        raise NotFound("conversation", conversation_id)
    key, total, has_copies = found
    if around is not None:
        offset = find_place(around, key)[0] // limit * limit
    start: tuple[Any, ...] | None
    if cursor is not None:
        start = decode_cursor(cursor, order=ORDER, types=(int, int))
    else:
        start = find_start(key, offset)
    return Place(key, total, has_copies != 0, offset, start)


def page_of(columns: str, *, joins: str = JOINS) -> str:
    """Return SQL of columns of the messages of a page."""
    return f"""
        SELECT {columns} FROM messages m {joins}
        WHERE m.conversation_key = :conversation AND (m.position, m.key) > (:position, :key)
        ORDER BY m.position, m.key LIMIT +:limit
    """


def read_rows(sql: str, place: Place, *, limit: int, **values: Any) -> list[tuple[Any, ...]]:
    """Return the messages of a page, and one more, by what ``page_of`` returned."""
    if place.start is None:
        return []
    position, key = place.start
    return fetch_all(
        sql,
        {
            **values,
            "conversation": place.conversation_key,
            "position": position,
            "key": key,
            "limit": limit + 1,
        },
    )


def read_uses(
    keys: list[int], *, has_copies: bool, conversation_key: int, scope: Scope, shown: str
) -> list[tuple[Any, ...]]:
    """Return the tool uses of messages.

    Args:
        keys: Those of the messages, or of their originals.
        has_copies: Whether any is of a copy.
        conversation_key: The conversation that the messages are in.
        scope: Whose conversations are there at all.
        shown: SQL of what each row ends with.

    Returns:
        The message's key, the use's id, status and start, its result as text or as the key of the
        message that has it, the milliseconds that it took, and what is shown.
    """
    if not keys:
        return []
    uses = fetch_all(_USES.format(shown=shown), (orjson.dumps(keys).decode(),))
    if has_copies:
        uses = _with_own_results(uses, conversation_key)
    if not scope.is_whole:
        hidden = find_hidden_texts((use[5] for use in uses), scope=scope)
        uses = [_without_result(use) if use[5] in hidden else use for use in uses]
    return uses


def _with_own_results(uses: list[tuple[Any, ...]], conversation_key: int) -> list[tuple[Any, ...]]:
    """Return tool uses with the results that a conversation of copied messages got itself."""
    own = {row[0]: row[1:] for row in fetch_all(_OWN_RESULTS, (conversation_key,))}
    found = []
    for use in uses:
        if use[1] in own:
            status, result, told, finished_at = own[use[1]]
            started_at = use[3]
            took = milliseconds_between(started_at, finished_at) if started_at else None
            use = (*use[:2], status, started_at, result, told, took, *use[7:])
        found.append(use)
    return found


def _without_result(use: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*use[:2], "interrupted", use[3], None, None, None, *use[7:])


def read_texts(keys: Iterable[int]) -> dict[int, str]:
    """Return the texts of messages that are not on the page, by key."""
    found = fetch_all(
        "SELECT key, content FROM messages WHERE key IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(keys)).decode(),),
    )
    return dict(found)
