"""Chunks to tuples of plain values that ``marshal`` takes, and back.

They are for a fork of the same program, so nothing is said of versions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from observatory.ingest.discover import FoundFile
from observatory.ingest.reading import BadLine, Chunk
from observatory.redaction.masking import Finding, listed
from observatory.transcripts.content import ToolResult, ToolUse
from observatory.transcripts.records import (
    ApiCall,
    Message,
    Record,
    SubagentLink,
    Summary,
    Title,
)
from observatory.transcripts.usage import TokenUsage

_TEXT = Message._fields.index("text")
_TOOL_USES = Message._fields.index("tool_uses")
_TOOL_RESULTS = Message._fields.index("tool_results")
_API_CALL = Message._fields.index("api_call")
_USAGE = ApiCall._fields.index("usage")
# What a record is; a plain message has neither tools nor a call.
_PLAIN_MESSAGE, _MESSAGE, _TITLE, _SUMMARY, _LINK = range(5)


def pack_chunk(chunk: Chunk) -> tuple[Any, ...]:
    """Return what a chunk that is prepared says, as plain values."""
    return (
        chunk.generation,
        chunk.is_first,
        [(line, index, *_pack(item)) for line, index, item in chunk.items],
        [(bad.line, bad.start, bad.end, bad.reason) for bad in chunk.bad_lines],
        [(place, listed(found)) for place, found in chunk.findings.items()],
        dict(chunk.record_counts),
        chunk.byte_offset,
        chunk.line_count,
        chunk.has_open_line,
        chunk.tail_hash,
        chunk.lines_read,
        chunk.bytes_read,
        chunk.is_last,
        chunk.is_torn,
        chunk.is_prepared,
        chunk.cjk,
    )


def unpack_chunk(file: FoundFile, packed: tuple[Any, ...]) -> Chunk:
    """Return the chunk of a file that was packed."""
    generation, is_first, items, bad_lines, findings, record_counts, *rest = packed
    return Chunk(
        file,
        generation,
        is_first,
        [(line, index, _UNPACK[kind](values)) for line, index, kind, values in items],
        [BadLine(*bad) for bad in bad_lines],
        {
            place: Counter({Finding(*finding): times for *finding, times in found})
            for place, found in findings
        },
        Counter(record_counts),
        *rest,
    )


def _pack(record: Record) -> tuple[int, tuple[Any, ...]]:
    if isinstance(record, Message):
        if record.tool_uses or record.tool_results or record.api_call:
            return _MESSAGE, _pack_message(record)
        return _PLAIN_MESSAGE, tuple(record)
    if isinstance(record, Title):
        return _TITLE, (record.source, record.title)
    if isinstance(record, Summary):
        return _SUMMARY, (record.summary, record.leaf_uuid)
    return _LINK, (record.tool_use_id, record.agent_id)


def _pack_message(message: Message) -> tuple[Any, ...]:
    call = message.api_call
    return (
        *message[:_TOOL_USES],
        [tuple(use) for use in message.tool_uses],
        # Mostly a result is what its message says, which is sent once.
        [
            (result[0], None if result.text == message.text else result.text, *result[2:])
            for result in message.tool_results
        ],
        call and (*call[:_USAGE], tuple(call.usage), *call[_USAGE + 1 :]),
        *message[_API_CALL + 1 :],
    )


def _unpack_message(values: tuple[Any, ...]) -> Message:
    text, call = values[_TEXT], values[_API_CALL]
    return Message._make(
        (
            *values[:_TOOL_USES],
            tuple(map(ToolUse._make, values[_TOOL_USES])),
            tuple(
                ToolResult(identifier, text if said is None else said, *rest)
                for identifier, said, *rest in values[_TOOL_RESULTS]
            ),
            call and _unpack_call(call),
            *values[_API_CALL + 1 :],
        )
    )


def _unpack_call(values: tuple[Any, ...]) -> ApiCall:
    usage = TokenUsage._make(values[_USAGE])
    return ApiCall._make((*values[:_USAGE], usage, *values[_USAGE + 1 :]))


_UNPACK: dict[int, Callable[[tuple[Any, ...]], Record]] = {
    _PLAIN_MESSAGE: Message._make,
    _MESSAGE: _unpack_message,
    _TITLE: lambda values: Title(*values),
    _SUMMARY: lambda values: Summary(*values),
    _LINK: lambda values: SubagentLink(*values),
}
