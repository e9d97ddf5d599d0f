"""Messages: the pages of a conversation in transcript order, and single ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import orjson
from orjson import Fragment

from observatory.errors import NotFound
from observatory.store.cutting import cut_json
from observatory.store.database import fetch_all, fetch_one
from observatory.store.message_places import find_place, find_start
from observatory.store.pages import Page, decode_cursor, make_page
from observatory.store.scopes import Scope
from observatory.store.tool_uses import find_hidden_texts, shown_status
from observatory.timestamps import milliseconds_between

_ORDER = "messages"


def _setting(name: str) -> str:
    """Return SQL of what only clients of the API tell of a message; transcripts do not have it."""
    is_told = "m.notes NOT NULL AND NOT instr(m.notes, '\"subtype\"')"
    return f"CASE WHEN {is_told} THEN m.notes -> '$.{name}' END"


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
_METADATA = f"""
    json_object(
        'model', m.model, 'temperature', {_setting("temperature")},
        'max_tokens', {_setting("max_tokens")},
        'stop_reason', coalesce(nullif(a.stop_reason, ''), {_setting("stop_reason")}),
        'api_call_id', a.id, 'usage', CASE WHEN a.message_key = m.key THEN {_USAGE} END,
        'cwd', m.cwd, 'git_branch', m.git_branch, 'version', m.client_version,
        'notes', CASE WHEN m.notes NOT NULL THEN json(m.notes) END)
"""
_COLUMNS = f"""
    m.key, coalesce(m.copy_of_key, m.key), m.position, m.id, m.role, m.kind,
    coalesce(o.content, m.content), coalesce(o.blocks, m.blocks), m.created_at, m.parent_id, o.id,
    m.is_on_main_branch, m.is_superseded,
    CASE WHEN a.message_key = m.key THEN {_PROMPT} + a.output_tokens ELSE 0 END, {_METADATA}
"""
_JOINS = """
    LEFT JOIN messages o ON o.key = m.copy_of_key
    LEFT JOIN api_calls a ON a.key = m.api_call_key
"""
_PAGE = f"""
    SELECT {_COLUMNS} FROM messages m {_JOINS}
    WHERE m.conversation_key = :conversation AND (m.position, m.key) > (:position, :key)
    ORDER BY m.position, m.key LIMIT +:limit
"""
_CONVERSATION = "SELECT key, message_count FROM conversations WHERE id = ? AND deleted_at IS NULL"
_TOOL_USES = """
    SELECT message_key, tool_use_id, name, status, started_at, parameters, result,
        result_message_key, execution_time_ms
    FROM tool_uses WHERE message_key IN (SELECT value FROM json_each(?)) ORDER BY message_key, key
"""
# Results in a conversation whose tool use was copied from another one, which has its own.
_OWN_RESULTS = """
    SELECT tool_use_id, status, result, result_message_key, finished_at
    FROM tool_uses WHERE conversation_key = ? AND message_key IS NULL
"""
_GET = f"""
    SELECT c.id, c.key, {_COLUMNS} FROM messages m {_JOINS}
    JOIN conversations c ON c.key = m.conversation_key AND c.deleted_at IS NULL
    WHERE m.id = ?
"""


def list_messages(
    conversation_id: str,
    *,
    scope: Scope,
    limit: int = 100,
    offset: int = 0,
    cursor: str | None = None,
    around: str | None = None,
    max_characters: int | None = None,
) -> Page:
    """Return one page of a conversation's messages, in transcript order.

    Args:
        conversation_id: The conversation.
        scope: Whose conversations are there at all.
        limit: Largest number of rows, 1 to 500.
        offset: How many rows to pass over; 0 with a cursor.
        cursor: The place after which to go on; ``None`` starts at the first message.
        around: A message that is to be on the page, which begins at a multiple of ``limit`` then.
        max_characters: How much of a text to return; ``None`` for all of it.

    Raises:
        NotFound: There is no such conversation, or no such message in it.
        InvalidParameter: The cursor is not from this list.
    """
    found = fetch_one(_CONVERSATION + scope.and_there("conversations"), (conversation_id,))
    if found is None:
        raise NotFound("conversation", conversation_id)
    conversation_key, total = found
    if around is not None:
        offset = find_place(around, conversation_key)[0] // limit * limit
    start: tuple[Any, ...] | None
    if cursor is not None:
        start = decode_cursor(cursor, order=_ORDER, types=(int, int))
    else:
        start = find_start(conversation_key, offset)
    rows = [] if start is None else _read_page(conversation_key, start, limit + 1)
    if not scope.is_whole:
        rows = _leave_out_originals(rows, scope)
    contents = _Contents(rows, max_characters)
    calls = _tool_calls(rows, contents, conversation_key, scope)
    return make_page(
        _messages(conversation_id, rows, calls, contents),
        [(row[2], row[0]) for row in rows],
        order=_ORDER,
        total=total,
        limit=limit,
        offset=offset,
    )


def _read_page(conversation_key: int, start: tuple[Any, ...], limit: int) -> list[tuple[Any, ...]]:
    position, key = start
    return fetch_all(
        _PAGE,
        {"conversation": conversation_key, "position": position, "key": key, "limit": limit},
    )


def get_message(message_id: str, *, scope: Scope) -> dict[str, Any]:
    """Return one message with its content blocks and tool calls.

    Raises:
        NotFound: There is none, or its conversation is in the trash.
    """
    row = fetch_one(_GET + scope.and_there("c"), (message_id,))
    if row is None:
        raise NotFound("message", message_id)
    conversation_id, conversation_key, *columns = row
    rows = [tuple(columns)]
    if not scope.is_whole:
        rows = _leave_out_originals(rows, scope)
    contents = _Contents(rows)
    calls = _tool_calls(rows, contents, conversation_key, scope)
    [message] = _messages(conversation_id, rows, calls, contents)
    if message["blocks"] is None:
        message["blocks"] = _plain_blocks(message, has_text=bool(columns[6]))
    return message


def _leave_out_originals(rows: list[tuple[Any, ...]], scope: Scope) -> list[tuple[Any, ...]]:
    """Return messages without the ids of originals in conversations that are not there."""
    originals = [row[1] for row in rows if row[1] != row[0]]
    if not originals:
        return rows
    found = fetch_all(
        "SELECT m.key FROM messages m JOIN conversations c ON c.key = m.conversation_key"
        f" WHERE m.key IN (SELECT value FROM json_each(?)){scope.and_there('c')}",
        (orjson.dumps(originals).decode(),),
    )
    there = {key for (key,) in found}
    return [row if row[1] in there else (*row[:10], None, *row[11:]) for row in rows]


class _Contents:
    """The texts of a page's messages as JSON, made once each.

    What a tool gave back stands in its message and again in the call that asked for it.
    """

    def __init__(self, rows: Iterable[tuple[Any, ...]], most: int | None = None) -> None:
        self.most = most
        self._texts = {row[1]: row[6] for row in rows}
        self._encoded: dict[int, tuple[Fragment, int]] = {}

    def get(self, key: int) -> tuple[Fragment, int]:
        """Return the text of a message by its key, or its original's when it is a copy.

        Beside it stands of how many characters the whole text is.
        """
        found = self._encoded.get(key)
        if found is None:
            text = self._texts[key]
            found = Fragment(orjson.dumps(text[: self.most])), len(text)
            self._encoded[key] = found
        return found

    def add_missing(self, keys: Iterable[int]) -> None:
        """Read the texts of messages that are not on the page."""
        missing = [key for key in keys if key not in self._texts]
        if missing:
            found = fetch_all(
                "SELECT key, content FROM messages WHERE key IN (SELECT value FROM json_each(?))",
                (orjson.dumps(missing).decode(),),
            )
            self._texts.update(found)


def _tool_calls(
    rows: Iterable[tuple[Any, ...]], contents: _Contents, conversation_key: int, scope: Scope
) -> dict[int, list[dict[str, Any]]]:
    """Return the tool calls of assistant messages, by the key of the message that holds them."""
    keys = [row[1] for row in rows if row[4] == "assistant"]
    calls: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if not keys:
        return calls
    uses = fetch_all(_TOOL_USES, (orjson.dumps(keys).decode(),))
    if any(row[1] != row[0] for row in rows):
        uses = _with_own_results(uses, conversation_key)
    if not scope.is_whole:
        hidden = find_hidden_texts((use[7] for use in uses), scope=scope)
        uses = [_without_result(use) if use[7] in hidden else use for use in uses]
    contents.add_missing(use[7] for use in uses if use[6] is None and use[7] is not None)
    most = contents.most
    for message_key, tool_use_id, name, status, started_at, parameters, result, told, ms in uses:
        shown: Any = None
        length = None
        if result is not None:
            shown, length = result[:most], len(result)
        elif told is not None:
            shown, length = contents.get(told)
        calls[message_key].append(
            {
                "id": tool_use_id,
                "type": "function",
                "function": {"name": name, "arguments": cut_json(parameters, most)},
                "result": shown,
                "result_length": length,
                "execution_time_ms": ms,
                "status": shown_status(status, started_at),
            }
        )
    return calls


def _with_own_results(uses: list[tuple[Any, ...]], conversation_key: int) -> list[tuple[Any, ...]]:
    """Return tool uses with the results that a conversation of copied messages got itself."""
    own = {row[0]: row[1:] for row in fetch_all(_OWN_RESULTS, (conversation_key,))}
    shown = []
    for use in uses:
        if use[1] in own:
            status, result, told, finished_at = own[use[1]]
            started_at = use[4]
            took = milliseconds_between(started_at, finished_at) if started_at else None
            use = (*use[:3], status, started_at, use[5], result, told, took)
        shown.append(use)
    return shown


def _without_result(use: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*use[:3], "interrupted", *use[4:6], None, None, None)


def _messages(
    conversation_id: str,
    rows: Iterable[tuple[Any, ...]],
    calls: dict[int, list[dict[str, Any]]],
    contents: _Contents,
) -> list[dict[str, Any]]:
    most = contents.most
    return [
        {
            "id": identifier,
            "conversation_id": conversation_id,
            "position": position,
            "role": role,
            "kind": kind,
            "content": contents.get(text_key)[0] if kind == "tool_result" else content[:most],
            "content_length": len(content),
            "blocks": None if blocks is None else cut_json(blocks, most),
            "timestamp": created_at,
            "token_count": token_count,
            "tool_calls": calls.get(text_key, []),
            "parent_id": parent_id,
            "copied_from": copy_of,
            "is_on_main_branch": is_on_main_branch != 0,
            "is_superseded": is_superseded != 0,
            "metadata": Fragment(metadata),
        }
        for (
            _key, text_key, position, identifier, role, kind, content, blocks, created_at,
            parent_id, copy_of, is_on_main_branch, is_superseded, token_count, metadata,
        ) in rows
    ]  # fmt: skip


def _plain_blocks(message: dict[str, Any], *, has_text: bool) -> list[dict[str, Any]]:
    """Return the blocks of a message whose text and kind tell the whole of it."""
    content = message["content"]
    if message["kind"] == "thinking":
        return [{"type": "thinking", "thinking": content}]
    if message["kind"] == "tool_result":
        rows = fetch_all(
            "SELECT tool_use_id, is_error FROM tool_uses t JOIN messages m"
            " ON coalesce(m.copy_of_key, m.key) = t.result_message_key WHERE m.id = ?",
            (message["id"],),
        )
        return [
            {
                "type": "tool_result",
                "tool_use_id": tool_use_id,
                "content": content,
                "is_error": bool(is_error),
            }
            for tool_use_id, is_error in rows
        ]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": content}] if has_text else []
    for call in message["tool_calls"]:
        function = call["function"]
        blocks.append(
            {
                "type": "tool_use",
                "id": call["id"],
                "name": function["name"],
                "input": function["arguments"],
            }
        )
    return blocks
