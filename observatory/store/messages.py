"""Messages: the pages of a conversation in transcript order, and single ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
from orjson import Fragment

from observatory.errors import NotFound
from observatory.store.cutting import cut_json
from observatory.store.database import fetch_all, fetch_one
from observatory.store.message_rows import (
    BLOCKS,
    CONTENT,
    JOINS,
    METADATA,
    ORDER,
    TEXT_KEY,
    TOKEN_COUNT,
    copied_from,
    find_page,
    page_of,
    read_rows,
    read_texts,
    read_uses,
)
from observatory.store.pages import Page, make_page
from observatory.store.scopes import Scope
from observatory.store.tool_uses import shown_status


def _columns(scope: Scope) -> str:
    return f"""
        m.key, {TEXT_KEY}, m.position, m.id, m.role, m.kind, {CONTENT},
        {BLOCKS}, m.created_at, m.parent_id, {copied_from(scope)},
        m.is_on_main_branch, m.is_superseded, {TOKEN_COUNT}, {METADATA}
    """


@lru_cache(maxsize=64)
def _page(scope: Scope) -> str:
    return page_of(_columns(scope))


@lru_cache(maxsize=64)
def _one(scope: Scope, *, in_trash: bool) -> str:
    where = "" if in_trash else " AND c.deleted_at IS NULL"
    return f"""
        SELECT c.id, c.key, {_columns(scope)} FROM messages m {JOINS}
        JOIN conversations c ON c.key = m.conversation_key{where}
        WHERE m.id = ?{scope.and_there("c")}
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
    place = find_page(
        conversation_id, scope=scope, limit=limit, offset=offset, cursor=cursor, around=around
    )
    rows = read_rows(_page(scope), place, limit=limit)
    contents = _Contents(rows, max_characters)
    calls = _tool_calls(rows, contents, place.conversation_key, scope)
    return make_page(
        _messages(conversation_id, rows, calls, contents),
        [(row[2], row[0]) for row in rows],
        order=ORDER,
        total=place.total,
        limit=limit,
        offset=place.offset,
    )


def get_message(message_id: str, *, scope: Scope, in_trash: bool = False) -> dict[str, Any]:
    """Return one message with its content blocks and tool calls, in the trash too when asked to.

    Raises:
        NotFound: There is none, or its conversation is in the trash.
    """
    row = fetch_one(_one(scope, in_trash=in_trash), (message_id,))
    if row is None:
        raise NotFound("message", message_id)
    conversation_id, conversation_key, *columns = row
    rows = [tuple(columns)]
    contents = _Contents(rows)
    calls = _tool_calls(rows, contents, conversation_key, scope)
    [message] = _messages(conversation_id, rows, calls, contents)
    if message["blocks"] is None:
        message["blocks"] = _plain_blocks(message, has_text=bool(columns[6]))
    return message


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
            self._texts |= read_texts(missing)


def _tool_calls(
    rows: Iterable[tuple[Any, ...]], contents: _Contents, conversation_key: int, scope: Scope
) -> dict[int, list[dict[str, Any]]]:
    """Return the tool calls of assistant messages, by the key of the message that holds them."""
    keys = [row[1] for row in rows if row[4] == "assistant"]
    calls: dict[int, list[dict[str, Any]]] = defaultdict(list)
    uses = read_uses(
        keys,
        has_copies=any(row[1] != row[0] for row in rows),
        conversation_key=conversation_key,
        scope=scope,
        shown="name, parameters",
    )
    contents.add_missing(use[5] for use in uses if use[4] is None and use[5] is not None)
    most = contents.most
    for message_key, tool_use_id, status, started_at, result, told, ms, name, parameters in uses:
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
