"""Records as they are stored: their secrets masked or noted, as REDACT_SECRETS says.

It comes before everything else that is done with a record, so that titles, search and the identity
of records without an id are all made from what is stored.
"""

from __future__ import annotations

from dataclasses import replace

from observatory.redaction.masking import Findings, redact, redact_json
from observatory.transcripts.content import ToolResult, ToolUse, mcp_server
from observatory.transcripts.records import Message, Record, Summary, Title


def redact_record(record: Record) -> tuple[Record, Findings]:
    """Return a record as it is stored, and the secrets that were found in it."""
    found = Findings()
    if isinstance(record, Message):
        return _redact_message(record, found), found
    if isinstance(record, Title):
        return replace(record, title=redact(record.title, "title", found)), found
    if isinstance(record, Summary):
        return replace(record, summary=redact(record.summary, "summary", found)), found
    return record, found


def _redact_message(message: Message, found: Findings) -> Message:
    return message._replace(
        text=redact(message.text, "content", found),
        blocks=redact_json(message.blocks, "blocks", found),
        notes=redact_json(message.notes, "notes", found),
        tool_uses=tuple(_redact_use(use, found) for use in message.tool_uses),
        tool_results=tuple(
            _redact_result(result, found, is_alone=result.text == message.text)
            for result in message.tool_results
        ),
        cwd=redact(message.cwd, "cwd", found) if message.cwd else None,
        git_branch=redact(message.git_branch, "git_branch", found) if message.git_branch else None,
    )


def _redact_use(use: ToolUse, found: Findings) -> ToolUse:
    name = redact(use.name, "name", found)
    return use._replace(
        name=name,
        server=mcp_server(name),
        parameters=redact_json(use.parameters, "parameters", found),
    )


def _redact_result(result: ToolResult, found: Findings, *, is_alone: bool) -> ToolResult:
    # What the message says as well is stored, and so counted, there; and no other details are.
    details = result.details if isinstance(result.details, (dict, list)) else None
    return result._replace(
        text=redact(result.text, "result", Findings() if is_alone else found),
        details=redact_json(details, "details", found),
    )
