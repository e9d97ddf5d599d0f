"""Messages that clients write into conversations of their own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import orjson

from observatory.errors import Conflict
from observatory.store import archive, search
from observatory.store.archive import ApiCallRow, ToolUseRow
from observatory.store.conversation_changes import lock_own_conversation
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute_many
from observatory.store.event_notes import note_messages, note_tool_uses
from observatory.store.new_ids import make_id
from observatory.store.putting_off import put_off
from observatory.store.rollups import NO_KEY, Added, begin_quarter
from observatory.store.scopes import Scope
from observatory.store.search_language import spaced_message
from observatory.store.secrets import FindingRow, Found, insert_findings
from observatory.store.together import write_together
from observatory.timestamps import now

TOOL_STATUSES = ("success", "error", "rejected", "interrupted", "running")


@dataclass(frozen=True, slots=True)
class NewToolCall:
    """A tool call with its result; ``parameters`` is JSON text."""

    name: str
    parameters: str
    id: str | None = None
    result: str | None = None
    status: str = "success"
    execution_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to write, as it is stored.

    ``tokens`` holds the four kinds when the message carries usage, ``found`` the secrets that were
    found in it.
    """

    role: str
    content: str
    timestamp: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    notes: dict[str, Any] | None = None
    tokens: dict[str, int] | None = None
    tool_calls: Sequence[NewToolCall] = field(default_factory=tuple)
    found: Found = ()


_KINDS = {"user": "prompt", "assistant": "answer", "system": "notice"}
_INSERT = (
    "INSERT INTO messages (key, id, conversation_key, position, role, kind, created_at, model,"
    " api_call_key, notes, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def insert_messages(
    conversation_id: str,
    messages: Sequence[NewMessage],
    *,
    scope: Scope,
    price: Callable[[Sequence[ApiCallRow]], None] = lambda calls: None,
) -> list[str]:
    """Insert messages at the end of a conversation, all or none, and return their ids.

    Args:
        conversation_id: Which conversation.
        messages: What to insert, in order.
        scope: Whose conversations are there at all.
        price: Sets what model calls cost, inside the transaction; by default that is not known.

    Raises:
        NotFound: There is no such conversation.
        Conflict: It is a transcript's, or a tool call's id is already there.
    """
    return write_together(partial(_insert_messages, conversation_id, messages, scope, price))


def _insert_messages(
    conversation_id: str,
    messages: Sequence[NewMessage],
    scope: Scope,
    price: Callable[[Sequence[ApiCallRow]], None],
) -> list[str]:
    conversation_key, created_at, position = lock_own_conversation(conversation_id, scope=scope)
    key = archive.next_message_key()
    has_calls = any(message.tokens is not None for message in messages)
    call_key = archive.next_api_call_key() if has_calls else NO_KEY
    rows: list[tuple[Any, ...]] = []
    calls: list[ApiCallRow] = []
    uses: list[ToolUseRow] = []
    spaced: list[tuple[int, str]] = []
    for offset, message in enumerate(messages):
        message_key, identifier = key + offset, make_id()
        moment = message.timestamp or now()
        call = _api_call(message, conversation_key, call_key + len(calls), identifier)
        if call is not None:
            call.position, call.message_key = position + offset + 1, message_key
            call.created_at = moment
            calls.append(call)
        rows.append(
            (
                message_key,
                identifier,
                conversation_key,
                position + offset + 1,
                message.role,
                _KINDS[message.role],
                moment,
                message.model,
                call.key if call else None,
                orjson.dumps(message.notes).decode() if message.notes else None,
                message.content,
            )
        )
        uses += [
            _tool_use(use, conversation_key, message_key, moment) for use in message.tool_calls
        ]
        found = spaced_message(
            (message.content, *(use.result or "" for use in message.tool_calls)),
            parameters=(use.parameters for use in message.tool_calls),
        )
        if found:
            spaced.append((message_key, found))
    _refuse_known(conversation_key, uses)
    execute_many(_INSERT, rows)
    price(calls)
    archive.upsert_api_calls(calls)
    archive.upsert_tool_uses(uses)
    archive.insert_cjk(spaced)
    insert_findings(
        FindingRow(key + offset, None, *finding)
        for offset, message in enumerate(messages)
        for finding in message.found
    )
    search.index_at_once(rows[0][0], rows[-1][0])
    moments = [row[6] for row in rows]
    first = min(moments)
    put_off(_stretch, (first, max(moments), conversation_key))
    ended = [use.tool_use_id for use in uses if use.status != "running"]
    put_off(_note, _Noted(conversation_key, [row[0] for row in rows], ended))
    # What tools did, and when a conversation began, is counted from all that is there.
    has_only_grown = not uses and first >= created_at
    refresh_conversations(
        [conversation_key],
        since=begin_quarter(first),
        added=Added(key, call_key) if has_only_grown else None,
    )
    return [row[1] for row in rows]


def _refuse_known(conversation_key: int, uses: list[ToolUseRow]) -> None:
    if not uses:
        return
    ids = [use.tool_use_id for use in uses]
    known = archive.find_tool_use_ids(conversation_key, ids)
    if known or len(set(ids)) < len(ids):
        raise Conflict("A tool call's id must be new in its conversation; leave it out to get one.")


class _Noted(NamedTuple):
    """What is told of a conversation: keys of new messages, and ids of tool uses that ended."""

    conversation_key: int
    message_keys: Sequence[int]
    tool_use_ids: Sequence[str]


def _note(noted: list[_Noted]) -> None:
    note_messages((each.conversation_key, key) for each in noted for key in each.message_keys)
    note_tool_uses((each.conversation_key, use) for each in noted for use in each.tool_use_ids)


def _stretch(spans: list[tuple[str, str, int]]) -> None:
    """Let first and last activity of conversations include some times."""
    execute_many(
        "UPDATE conversations SET created_at = min(created_at, ?), updated_at = max(updated_at, ?)"
        " WHERE key = ?",
        spans,
    )


def _api_call(
    message: NewMessage, conversation_key: int, key: int, identifier: str
) -> ApiCallRow | None:
    if message.tokens is None:
        return None
    tokens = message.tokens
    return ApiCallRow(
        key=key,
        id=f"api-{identifier}",
        conversation_key=conversation_key,
        file_key=None,
        position=0,
        message_key=None,
        is_sidechain=0,
        usage_file_key=None,
        request_id=None,
        model=message.model or "unknown",
        created_at="",
        stop_reason=message.stop_reason,
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        cache_creation_input_tokens=tokens["cache_creation_input_tokens"],
        cache_read_input_tokens=tokens["cache_read_input_tokens"],
        cache_creation_5m_input_tokens=tokens["cache_creation_input_tokens"],
        cache_creation_1h_input_tokens=0,
        web_search_requests=0,
        is_fast=0,
        cost_nanodollars=None,
        usage_quality="exact",
    )


def _tool_use(use: NewToolCall, conversation_key: int, message_key: int, moment: str) -> ToolUseRow:
    return ToolUseRow(
        conversation_key=conversation_key,
        tool_use_id=use.id or f"call_{uuid.uuid4().hex}",
        message_key=message_key,
        name=use.name,
        status=use.status,
        is_error=int(use.status in ("error", "rejected")),
        started_at=moment,
        execution_time_ms=use.execution_time_ms,
        parameters=use.parameters,
        result=use.result,
    )
