"""Records: one JSON object of a transcript to one frozen dataclass.

Transcripts are an undocumented format that changes. Unknown types and unknown keys are passed
over (the reader counts them); a malformed known record raises ``MalformedRecord``.

Source: docs/transcript-format.md, "Lines and records".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from observatory.errors import MalformedRecord
from observatory.timestamps import parse_timestamp
from observatory.transcripts.content import (
    Content,
    ToolResult,
    ToolUse,
    read_content,
    replace_binary,
)
from observatory.transcripts.layout import path_part
from observatory.transcripts.prices import MAX_CALL_NANODOLLARS
from observatory.transcripts.prompts import text_kind, user_kind
from observatory.transcripts.usage import (
    NANODOLLARS_PER_DOLLAR,
    SYNTHETIC_MODEL,
    TokenUsage,
    parse_usage,
    usage_quality,
)


class ApiCall(NamedTuple):
    """One model response as one of its lines tells it; lines with the same ``id`` repeat it.

    ``reported_nanodollars`` is what the client itself says that it cost, if it says so.
    """

    id: str
    request_id: str | None
    model: str
    stop_reason: str | None
    usage: TokenUsage
    reported_nanodollars: int | None
    usage_quality: str


class Message(NamedTuple):
    """One thing said, by a ``user``, ``assistant`` or ``system`` record or a queued prompt.

    A named tuple and not a dataclass, as are the other parts of a message: it is made for every
    line, and costs a third (docs/performance.md). ``blocks``, a list of objects, and ``notes``, an
    object, are JSON text once it is prepared to be stored, as are the parameters of its tools.
    """

    uuid: str | None
    parent_uuid: str | None
    session_id: str | None
    agent_id: str | None
    is_sidechain: bool
    timestamp: str | None
    role: str
    kind: str
    text: str
    blocks: Any
    tool_uses: tuple[ToolUse, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    api_call: ApiCall | None = None
    model: str | None = None
    cwd: str | None = None
    git_branch: str | None = None
    client_version: str | None = None
    entrypoint: str | None = None
    notes: Any = None


@dataclass(frozen=True, slots=True)
class Title:
    """A title that a record gives its conversation; ``source`` says what kind of record."""

    source: str
    title: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A title for the conversation, often in another file, that holds the message ``leaf_uuid``."""

    summary: str
    leaf_uuid: str


@dataclass(frozen=True, slots=True)
class SubagentLink:
    """A subagent that a tool use started, known while it still runs."""

    tool_use_id: str
    agent_id: str


Record = Message | Title | Summary | SubagentLink

_RENAMED = re.compile(
    r"<command-name>/rename</command-name>.*?<command-args>(.+?)</command-args>", re.S
)
_PROMPT_MODES = (None, "prompt")


def _string(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _body(record: dict[str, Any]) -> dict[str, Any]:
    body = record.get("message")
    if not isinstance(body, dict):
        raise MalformedRecord(f"{record['type']} record has no message object")
    return body


def _message(
    record: dict[str, Any],
    *,
    role: str,
    kind: str,
    text: str,
    blocks: list[dict[str, Any]] | None,
    tool_uses: tuple[ToolUse, ...] = (),
    tool_results: tuple[ToolResult, ...] = (),
    api_call: ApiCall | None = None,
    model: str | None = None,
    notes: dict[str, Any] | None = None,
) -> Message:
    """Return a message with the fields that all chain records share.

    It is made by place and not by name: of so many fields the names cost more than the rest.
    """
    get = record.get
    return Message(
        path_part(value) if type(value := get("uuid")) is str and value else None,
        path_part(value) if type(value := get("parentUuid")) is str and value else None,
        path_part(value) if type(value := get("sessionId")) is str and value else None,
        value if type(value := get("agentId")) is str and value else None,
        get("isSidechain") is True,
        parse_timestamp(get("timestamp")),
        role,
        kind,
        text,
        blocks,
        tool_uses,
        tool_results,
        api_call,
        model,
        value if type(value := get("cwd")) is str and value else None,
        value if type(value := get("gitBranch")) is str and value else None,
        value if type(value := get("version")) is str and value else None,
        value if type(value := get("entrypoint")) is str and value else None,
        notes,
    )


def parse_user(record: dict[str, Any]) -> Message:
    """Return what a ``user`` record says: a prompt, a tool's result, or the client's words."""
    details = record.get("toolUseResult")
    content = read_content(
        _body(record).get("content"),
        tool_details=details,
        denial=record.get("toolDenialKind"),
    )
    return _message(
        record,
        role="user",
        kind=user_kind(record, content),
        text=content.text,
        blocks=content.blocks,
        tool_uses=content.tool_uses,
        tool_results=content.tool_results,
    )


def parse_assistant(record: dict[str, Any]) -> Message:
    """Return one line of a model response: usually one block of it."""
    body = _body(record)
    content = read_content(body.get("content"))
    model = _string(body, "model")
    is_error = record.get("isApiErrorMessage") is True
    notes = None
    if is_error:
        notes = _notes(record, ("error", "apiErrorStatus"))
    return _message(
        record,
        role="assistant",
        kind="api_error" if is_error else _assistant_kind(content),
        text=content.text,
        blocks=content.blocks,
        tool_uses=content.tool_uses,
        tool_results=content.tool_results,
        model=model,
        api_call=None if is_error or model == SYNTHETIC_MODEL else _api_call(record, body, model),
        notes=notes,
    )


def _assistant_kind(content: Content) -> str:
    if "text" in content.types:
        return "answer"
    if content.tool_uses:
        return "tool_use"
    if content.types and all("thinking" in kind for kind in content.types):
        return "thinking"
    return "answer"


def _api_call(record: dict[str, Any], body: dict[str, Any], model: str | None) -> ApiCall | None:
    usage_record = body.get("usage")
    if not isinstance(usage_record, dict):
        return None
    identifier = _string(body, "id") or _string(record, "uuid")
    if identifier is None:
        raise MalformedRecord("assistant record has neither message.id nor uuid")
    usage = parse_usage(usage_record)
    stop_reason = _string(body, "stop_reason")
    return ApiCall(
        id=identifier,
        request_id=_string(record, "requestId"),
        model=model or "unknown",
        stop_reason=stop_reason,
        usage=usage,
        reported_nanodollars=_reported_nanodollars(record),
        usage_quality=usage_quality(_string(record, "version"), stop_reason),
    )


def _reported_nanodollars(record: dict[str, Any]) -> int | None:
    """Return the cost that clients up to mid-2025 wrote themselves (``costUSD``)."""
    cost = record.get("costUSD")
    most = MAX_CALL_NANODOLLARS // NANODOLLARS_PER_DOLLAR
    if isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost <= most:
        return round(cost * NANODOLLARS_PER_DOLLAR)
    return None


_SYSTEM_KINDS = {
    "compact_boundary": "compaction",
    "microcompact_boundary": "compaction",
    "local_command": "command",
    "api_error": "retry",
}
_SYSTEM_NOTES = (
    "subtype",
    "level",
    "compactMetadata",
    "microcompactMetadata",
    "logicalParentUuid",
    "durationMs",
    "messageCount",
    "hookCount",
    "hookErrors",
    "preventedContinuation",
    "stopReason",
    "retryInMs",
    "retryAttempt",
    "maxRetries",
)


def parse_system(record: dict[str, Any]) -> Message:
    """Return a notice of the client: a compaction, a retry, a local command, a turn's duration."""
    content = record.get("content")
    return _message(
        record,
        role="system",
        kind=_SYSTEM_KINDS.get(str(record.get("subtype")), "notice"),
        text=content if isinstance(content, str) else "",
        blocks=None,
        notes=_notes(record, _SYSTEM_NOTES),
    )


def _notes(record: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any] | None:
    return {key: record[key] for key in keys if record.get(key) is not None} or None


def renamed_title(message: Message) -> str | None:
    """Return the title that a ``/rename`` in a local command's record gives, or ``None``."""
    if message.role != "system" or "/rename" not in message.text:
        return None
    match = _RENAMED.search(message.text)
    return match.group(1).strip() or None if match else None


def parse_attachment(record: dict[str, Any]) -> Message | None:
    """Return the prompt that was typed while a tool ran; other attachments are not said."""
    attachment = record.get("attachment")
    if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
        return None
    if attachment.get("commandMode") not in _PROMPT_MODES:
        return None
    content = read_content(attachment.get("prompt"))
    if text_kind(content.text) != "prompt" or not content.text.strip():
        return None
    return _message(
        record, role="user", kind="queued_prompt", text=content.text, blocks=content.blocks
    )


def parse_progress(record: dict[str, Any]) -> SubagentLink | None:
    """Return which subagent a running tool use has started; other progress is noise."""
    data = record.get("data")
    if not isinstance(data, dict) or data.get("type") != "agent_progress":
        return None
    agent_id, tool_use_id = _string(data, "agentId"), _string(record, "parentToolUseID")
    return SubagentLink(tool_use_id, agent_id) if agent_id and tool_use_id else None


def parse_summary(record: dict[str, Any]) -> Summary | None:
    """Return a title for the conversation in which a message lies."""
    summary, leaf_uuid = _string(record, "summary"), _string(record, "leafUuid")
    return Summary(summary, path_part(leaf_uuid)) if summary and leaf_uuid else None


def parse_ai_title(record: dict[str, Any]) -> Title | None:
    """Return the title that the model gave."""
    title = _string(record, "aiTitle")
    return Title("ai", title) if title else None


def parse_custom_title(record: dict[str, Any]) -> Title | None:
    """Return the title that the user gave."""
    title = _string(record, "customTitle")
    return Title("custom", title) if title else None


PARSERS: dict[str, Callable[[dict[str, Any]], Record | None]] = {
    "user": parse_user,
    "assistant": parse_assistant,
    "system": parse_system,
    "attachment": parse_attachment,
    "progress": parse_progress,
    "summary": parse_summary,
    "ai-title": parse_ai_title,
    "custom-title": parse_custom_title,
}


def parse_record(record: dict[str, Any], *, has_binary: bool = True) -> Record | None:
    """Return what one object of a transcript says, or ``None`` when nothing is kept of it.

    Args:
        record: The object.
        has_binary: Whether base64 data may be in it, which a look at the line's bytes tells.

    Raises:
        MalformedRecord: The record is of a known type and misses what that type must have.
    """
    kind = record.get("type")
    parser = PARSERS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        return None
    if has_binary and kind == "user" and isinstance(record.get("toolUseResult"), (dict, list)):
        record = {**record, "toolUseResult": replace_binary(record["toolUseResult"])}
    return parser(record)
